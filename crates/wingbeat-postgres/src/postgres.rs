//! The store.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, try_join_all};
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::store::{Backlog, DueRecord, Page, Query, Recorded};
use wingbeat_core::unit::{Outcome, Row};
use wingbeat_core::{
    CorrelationId, Envelope, HashMap, Key, MessageId, Name, Outbox, Record, Result, Store,
    Timestamp, Topology, Unit,
};

use crate::call::{self, Target};
use crate::commit::{self, unprepared};
use crate::outbox::{Places, PostgresOutbox};
use crate::pool::Pool;
use crate::reads::Reads;
use crate::transaction::Transaction;
use crate::{Config, backlog, due, lanes, layout, retain};

/// Rows a counter has at most.
const LANES: u64 = 32;

/// A [`Store`] on PostgreSQL. Cheap to share; connections are made as they are needed.
pub struct Postgres {
    shared: Arc<Shared>,
}

/// What store and outbox have in common.
pub(crate) struct Shared {
    pool: Pool,
    prefix: String,
    lane: i16,
    runtime: SharedRuntime,
    schemas: RwLock<HashMap<Name, Schema>>,
    pub(crate) places: Places,
}

#[derive(Clone)]
struct Schema {
    /// Quoted, as it stands in SQL.
    name: &'static str,
    namespace: i32,
    /// The statement that commits.
    commit: Arc<str>,
}

impl Postgres {
    /// Connects.
    ///
    /// # Errors
    ///
    /// `store_url_invalid`, `store_refused` (user, password or database) or `store_away`: one line, no
    /// password in it.
    pub async fn connect(config: &Config, runtime: SharedRuntime) -> Result<Arc<Self>> {
        let pool = Pool::new(config)?;
        drop(pool.get().await?);
        let lane = i16::try_from(runtime.random() % LANES).unwrap_or_default();
        let shared = Shared {
            pool,
            prefix: config.schema_prefix.clone(),
            lane,
            runtime,
            schemas: RwLock::default(),
            places: Places::default(),
        };
        Ok(Arc::new(Self {
            shared: Arc::new(shared),
        }))
    }

    /// A transaction (READ COMMITTED) on a connection of its own, for a handler that must read and lock rows of its
    /// own tables before it decides. Hand it to `Scope::commit_in`: then records, messages and inbox of the unit are
    /// committed in it, alone. That costs several times what a unit costs that is committed with others, and locks
    /// are held while the handler thinks: prefer `Scope::sql` where it is enough.
    ///
    /// ```
    /// # use wingbeat::{Result, Scope};
    /// # async fn reserve(unit: &Scope, database: &wingbeat_postgres::Postgres, sku: &str) -> Result<()> {
    /// let transaction = database.begin().await?;
    /// let row = transaction
    ///     .query_one("SELECT free FROM stock WHERE sku = $1 FOR UPDATE", [sku])
    ///     .await?;
    /// if row.get::<_, i32>(0) > 0 {
    ///     transaction
    ///         .execute("UPDATE stock SET free = free - 1 WHERE sku = $1", [sku])
    ///         .await?;
    /// }
    /// unit.commit_in(transaction)
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// To be retried: `transactions_busy` when half of the connections have a transaction open and none ends within
    /// [`Config::connect_timeout`], `store_away`, `store_refused`.
    pub async fn begin(&self) -> Result<Transaction> {
        self.shared.pool.begin().await
    }

    /// Whether the database answers now.
    ///
    /// # Errors
    ///
    /// `store_away` or `store_refused`.
    pub async fn ping(&self) -> Result<()> {
        let ask = async |connection: &deadpool_postgres::Object| {
            let asked = connection.simple_query("SELECT 1").await;
            asked.map(drop).map_err(|e| crate::fault::away(&e))
        };
        self.shared.pool.run(ask).await
    }
}

impl Shared {
    fn schema(&self, service: Name) -> Result<Schema> {
        let schemas = self.schemas.read().unwrap_or_else(PoisonError::into_inner);
        schemas
            .get(&service)
            .cloned()
            .ok_or_else(|| unprepared(service))
    }

    /// What is read from a service's schema.
    pub(crate) fn reads(&self, service: Name) -> Result<Reads<'_>> {
        let schema = self.schema(service)?;
        Ok(Reads {
            pool: &self.pool,
            schema: schema.name,
        })
    }

    /// All services that were prepared.
    pub(crate) fn services(&self) -> Vec<Name> {
        let schemas = self.schemas.read().unwrap_or_else(PoisonError::into_inner);
        let mut services: Vec<Name> = schemas.keys().copied().collect();
        services.sort_unstable();
        services
    }

    async fn prepare(&self, service: Name) -> Result<()> {
        let schema = format!("{}{service}", self.prefix);
        let namespace = lanes::namespace(&schema);
        let name = Name::intern(&format!("\"{}\"", schema.replace('"', ""))).as_str();
        let mut connection = self.pool.get().await?;
        layout::prepare(&mut connection, name, namespace).await?;
        let commit = call::statement(name).into();
        let schema = Schema {
            name,
            namespace,
            commit,
        };
        let mut schemas = self.schemas.write().unwrap_or_else(PoisonError::into_inner);
        schemas.insert(service, schema);
        Ok(())
    }

    /// Commits the units of one service; outcomes with their places, and the messages that were claimed.
    async fn commit_of(
        &self,
        service: Name,
        units: Vec<(usize, &Unit)>,
        lease: Option<Duration>,
    ) -> Result<(Vec<(usize, Outcome)>, Vec<Envelope>)> {
        let schema = self.schema(service)?;
        let target = Target {
            pool: &self.pool,
            schema: schema.name,
            namespace: schema.namespace,
            commit: &schema.commit,
            lane: self.lane,
            now: self.runtime.now(),
            lease: lease.map(micros),
            places: &self.places,
            service,
        };
        let (places, units): (Vec<usize>, Vec<&Unit>) = units.into_iter().unzip();
        let connection = self.pool.get().await?;
        let (outcomes, claimed) = commit::commit(connection, &target, &units).await?;
        Ok((places.into_iter().zip(outcomes).collect(), claimed))
    }

    async fn commit(
        &self,
        units: &[Unit],
        lease: Option<Duration>,
    ) -> Result<(Vec<Outcome>, Vec<Envelope>)> {
        let mut by_service: HashMap<Name, Vec<(usize, &Unit)>> = HashMap::default();
        for (place, unit) in units.iter().enumerate() {
            let own = by_service.entry(unit.service).or_default();
            own.push((place, unit));
        }
        let commits = by_service
            .into_iter()
            .map(|(service, units)| self.commit_of(service, units, lease));
        let (outcomes, claimed): (Vec<_>, Vec<_>) =
            try_join_all(commits).await?.into_iter().unzip();
        let mut outcomes: Vec<(usize, Outcome)> = outcomes.concat();
        outcomes.sort_unstable_by_key(|(place, _)| *place);
        let outcomes = outcomes.into_iter().map(|(_, outcome)| outcome).collect();
        Ok((outcomes, claimed.concat()))
    }
}

pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

impl Store for Postgres {
    fn prepare(&self, services: &[Name], _: &Topology) -> BoxFuture<'_, Result<()>> {
        let services = services.to_vec();
        Box::pin(async move {
            for service in services {
                self.shared.prepare(service).await?;
            }
            Ok(())
        })
    }

    fn commit(&self, units: Arc<Vec<Unit>>) -> BoxFuture<'_, Result<Vec<Outcome>>> {
        Box::pin(async move { Ok(self.shared.commit(&units, None).await?.0) })
    }

    fn commit_claiming(
        &self,
        units: Arc<Vec<Unit>>,
        lease: Duration,
    ) -> BoxFuture<'_, Result<(Vec<Outcome>, Vec<Envelope>)>> {
        Box::pin(async move { self.shared.commit(&units, Some(lease)).await })
    }

    fn load(&self, service: Name, key: &Key) -> BoxFuture<'_, Result<Option<Record>>> {
        let key = key.clone();
        Box::pin(async move { self.shared.reads(service)?.load(&key).await })
    }

    fn load_all(
        &self,
        service: Name,
        keys: Vec<Key>,
    ) -> BoxFuture<'_, Result<Vec<Option<Record>>>> {
        Box::pin(async move { self.shared.reads(service)?.load_all(&keys).await })
    }

    fn scan(
        &self,
        service: Name,
        table: Name,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(String, Record)>>> {
        Box::pin(async move {
            let reads = self.shared.reads(service)?;
            reads.scan(table, after.as_deref(), limit).await
        })
    }

    fn history(
        &self,
        service: Name,
        key: &Key,
        after: u64,
    ) -> BoxFuture<'_, Result<Vec<Recorded>>> {
        let key = key.clone();
        Box::pin(async move { self.shared.reads(service)?.history(&key, after).await })
    }

    fn row(&self, service: Name, view: Name, key: &str) -> BoxFuture<'_, Result<Option<Row>>> {
        let key = key.to_owned();
        Box::pin(async move { self.shared.reads(service)?.row(view, &key).await })
    }

    fn rows(&self, service: Name, query: Query) -> BoxFuture<'_, Result<Page>> {
        Box::pin(async move { self.shared.reads(service)?.rows(&query).await })
    }

    fn journal(&self, service: Name, story: CorrelationId) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        Box::pin(async move { self.shared.reads(service)?.journal(story).await })
    }

    fn counters(&self, service: Name) -> BoxFuture<'_, Result<Vec<(Name, i64)>>> {
        Box::pin(async move { self.shared.reads(service)?.counters().await })
    }

    fn settled(
        &self,
        queue: Name,
        source: &str,
        message: MessageId,
    ) -> BoxFuture<'_, Result<bool>> {
        let scope = format!("{queue} {source}");
        Box::pin(async move {
            // Whichever service's inbox has it; a process has the services of its own queues.
            for service in self.shared.services() {
                if self.shared.reads(service)?.settled(&scope, message).await? {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    fn claim_due(
        &self,
        services: &[Name],
        _: Timestamp,
        lease: Duration,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<DueRecord>>> {
        let services = services.to_vec();
        Box::pin(async move {
            let mut claimed = Vec::new();
            for service in services {
                let left = limit - claimed.len();
                if left == 0 {
                    break;
                }
                let reads = self.shared.reads(service)?;
                claimed.extend(due::claim(&reads, service, lease, left).await?);
            }
            Ok(claimed)
        })
    }

    fn next_due(&self, services: &[Name]) -> BoxFuture<'_, Result<Option<Timestamp>>> {
        let services = services.to_vec();
        Box::pin(async move {
            let mut soonest = None;
            for service in services {
                let next = due::next(&self.shared.reads(service)?).await?;
                soonest = [soonest, next].into_iter().flatten().min();
            }
            Ok(soonest)
        })
    }

    fn backlog(&self, service: Name, _: Timestamp) -> BoxFuture<'_, Result<Backlog>> {
        Box::pin(async move { backlog::of(&self.shared.reads(service)?).await })
    }

    fn retain(&self, now: Timestamp) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async move {
            let mut gone = 0;
            for service in self.shared.services() {
                gone += retain::retain(&self.shared.reads(service)?, now).await?;
            }
            Ok(gone)
        })
    }

    fn outbox(&self) -> Option<Arc<dyn Outbox>> {
        Some(Arc::new(PostgresOutbox::new(Arc::clone(&self.shared))))
    }
}
