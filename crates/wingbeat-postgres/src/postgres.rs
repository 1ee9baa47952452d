//! The store.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::store::{Backlog, DueRecord, Page, Query, Recorded};
use wingbeat_core::unit::{Outcome, Row, Settled};
use wingbeat_core::{
    Bodies, CorrelationId, Envelope, Key, MessageId, Name, Outbox, Record, Result, Store,
    Timestamp, Topology, Unit,
};

use crate::address::Address;
use crate::bodies::PostgresBodies;
use crate::config::Config;
use crate::database::Database;
use crate::grants::Grants;
use crate::outbox::PostgresOutbox;
use crate::transaction::Transaction;
use crate::{backlog, bodies, due, inbox, retain};

/// A [`Store`] on PostgreSQL. It connects when it needs a connection, and reconnects after
/// failures.
///
/// ```no_run
/// use wingbeat::TokioRuntime;
/// use wingbeat_postgres::{Config, Postgres};
///
/// # async fn open() -> wingbeat::Result<()> {
/// let config = Config::new("postgres://shop:secret@db.internal:5432/shop");
/// let store = Postgres::connect(&config, TokioRuntime::new()).await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// Methods of the port fail with `store_unavailable` if PostgreSQL is unavailable or does not
/// respond in time, `store_refused` if it refuses the login, `store_failed` if it cannot store a
/// value, and `store_unprepared` if the service's schema was not prepared. The caller may repeat
/// the same call.
///
/// [`Store::prepare`] leaves a schema alone that has this release's layout. It fails with
/// `store_not_migrated` if the schema must be created or migrated and the role may not do that,
/// `store_not_granted` if the role may not read the schema, and `data_newer` if a later release
/// wrote it. [`Postgres::migrate`] prepares the schemas for roles without the right to create.
pub struct Postgres {
    database: Arc<Database>,
    bodies: Arc<PostgresBodies>,
}

impl Postgres {
    /// Checks the URL and the files of TLS without connecting.
    ///
    /// # Errors
    ///
    /// `store_url_invalid` if a part of the URL is malformed or not supported; `tls_invalid` if a
    /// certificate or a key cannot be used.
    pub fn check(config: &Config) -> Result<()> {
        Address::parse(config).map(drop)
    }

    /// Connects to the database.
    ///
    /// # Errors
    ///
    /// - `store_url_invalid` if a part of [`Config::url`] is malformed or not supported;
    /// - `tls_invalid` if a certificate or a key cannot be used;
    /// - `store_tls_failed` if TLS fails;
    /// - `store_refused` if PostgreSQL refuses the user, the password or the database;
    /// - `store_pooled` if a pooler gives connections another session for each transaction;
    /// - `store_unavailable` if PostgreSQL is unavailable.
    ///
    /// The messages are one line and do not contain the password.
    pub async fn connect(config: &Config, runtime: SharedRuntime) -> Result<Arc<Self>> {
        let database = Arc::new(Database::connect(config, runtime).await?);
        let bodies = PostgresBodies::new(Arc::clone(&database));
        Ok(Arc::new(Self { database, bodies }))
    }

    /// Creates or migrates the schemas of services and of large bodies, and grants privileges on
    /// them, with a role that may do that. The services can then run with a role that may not.
    ///
    /// ```no_run
    /// use wingbeat::{Name, TokioRuntime};
    /// use wingbeat_postgres::{Config, Grants, Postgres};
    ///
    /// # async fn migrate() -> wingbeat::Result<()> {
    /// let config = Config::new("postgres://owner:secret@db.internal/shop");
    /// let grants = Grants {
    ///     write: vec!["shop_{service}".into()],
    ///     read: Vec::new(),
    /// };
    /// let services = [Name::new("orders"), Name::new("payments")];
    /// Postgres::migrate(&config, TokioRuntime::new(), &services, &grants).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of [`connect`](Self::connect); `migrate_refused` if the role may not create a schema
    /// or its tables, or if a role to grant to does not exist; `data_newer` if a later release
    /// wrote a schema.
    pub async fn migrate(
        config: &Config,
        runtime: SharedRuntime,
        services: &[Name],
        grants: &Grants,
    ) -> Result<()> {
        let database = Database::connect(config, runtime).await?;
        for service in services {
            database.migrate(*service, grants).await?;
        }
        bodies::migrate(&database, services, grants).await
    }

    /// Begins a transaction (READ COMMITTED) on its own connection, for a handler that must read
    /// and lock rows of its own tables before it decides.
    ///
    /// Pass the transaction to `Scope::commit_in`: then the unit's records, messages and inbox row
    /// are committed in it. Such a unit is committed alone, which costs several times as much as in
    /// a batch, and the transaction holds its locks while the handler runs. Prefer `Scope::sql`
    /// where it suffices.
    ///
    /// ```
    /// # use wingbeat::{Result, Scope};
    /// # use wingbeat_postgres::Postgres;
    /// # async fn reserve(unit: &Scope, database: &Postgres, sku: &str) -> Result<()> {
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
    /// All of them may be retried:
    ///
    /// - `transactions_busy` if half of the connections have a transaction open and none ends
    ///   within [`Config::connect_timeout`];
    /// - `store_unavailable` if PostgreSQL is unavailable;
    /// - `store_refused` if PostgreSQL refuses the login.
    pub async fn begin(&self) -> Result<Transaction> {
        self.database.pool.begin().await
    }
}

impl Store for Postgres {
    fn prepare(&self, services: &[Name], _: &Topology) -> BoxFuture<'_, Result<()>> {
        let services = services.to_vec();
        Box::pin(async move {
            for service in services {
                self.database.prepare(service).await?;
            }
            Ok(())
        })
    }

    /// Fails with `store_not_migrated` if a schema does not exist or has an older layout,
    /// `store_not_granted` if the role may not read it, and `data_newer` if a later release wrote
    /// it.
    fn inspect(&self, services: &[Name]) -> BoxFuture<'_, Result<()>> {
        let services = services.to_vec();
        Box::pin(async move {
            for service in services {
                self.database.inspect(service).await?;
            }
            Ok(())
        })
    }

    fn check_writable(&self, services: &[Name]) -> Result<()> {
        let mut services = services.iter();
        services.try_for_each(|service| self.database.check_writable(*service))
    }

    /// Fails with `store_unavailable` if the server is read-only, for example because it is a
    /// standby.
    fn ping(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(self.database.pool.ping())
    }

    fn commit(&self, units: Arc<Vec<Unit>>) -> BoxFuture<'_, Result<Vec<Outcome>>> {
        Box::pin(async move { Ok(self.database.commit(&units, None).await?.0) })
    }

    fn commit_claiming(
        &self,
        units: Arc<Vec<Unit>>,
        lease: Duration,
    ) -> BoxFuture<'_, Result<(Vec<Outcome>, Vec<Envelope>)>> {
        Box::pin(async move { self.database.commit(&units, Some(lease)).await })
    }

    fn load(&self, service: Name, key: &Key) -> BoxFuture<'_, Result<Option<Record>>> {
        let key = key.clone();
        Box::pin(async move { self.database.reads(service)?.load(&key).await })
    }

    fn load_all(
        &self,
        service: Name,
        keys: Vec<Key>,
    ) -> BoxFuture<'_, Result<Vec<Option<Record>>>> {
        Box::pin(async move { self.database.reads(service)?.load_all(&keys).await })
    }

    fn scan(
        &self,
        service: Name,
        table: Name,
        after: Option<String>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(String, Record)>>> {
        Box::pin(async move {
            let reads = self.database.reads(service)?;
            reads.scan(table, after.as_deref(), limit).await
        })
    }

    fn history(
        &self,
        service: Name,
        key: &Key,
        after: u64,
    ) -> BoxFuture<'_, Result<Vec<Recorded>>> {
        self.history_page(service, key, after, usize::MAX)
    }

    fn history_page(
        &self,
        service: Name,
        key: &Key,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Recorded>>> {
        let key = key.clone();
        Box::pin(async move {
            let reads = self.database.reads(service)?;
            reads.history(&key, after, limit).await
        })
    }

    fn row(&self, service: Name, view: Name, key: &str) -> BoxFuture<'_, Result<Option<Row>>> {
        let key = key.to_owned();
        Box::pin(async move { self.database.reads(service)?.row(view, &key).await })
    }

    fn rows(&self, service: Name, query: Query) -> BoxFuture<'_, Result<Page>> {
        Box::pin(async move { self.database.reads(service)?.rows(&query).await })
    }

    fn journal(&self, service: Name, story: CorrelationId) -> BoxFuture<'_, Result<Vec<Bytes>>> {
        Box::pin(async move { self.database.reads(service)?.journal(story).await })
    }

    fn counters(&self, service: Name) -> BoxFuture<'_, Result<Vec<(Name, i64)>>> {
        Box::pin(async move { self.database.reads(service)?.counters().await })
    }

    fn settled(
        &self,
        queue: Name,
        source: &str,
        message: MessageId,
    ) -> BoxFuture<'_, Result<bool>> {
        let scope = inbox::scope(queue, source);
        Box::pin(async move {
            // The queue's service is not known here. The process runs only a few services.
            for service in self.database.services() {
                if self
                    .database
                    .reads(service)?
                    .is_settled(&scope, message)
                    .await?
                {
                    return Ok(true);
                }
            }
            Ok(false)
        })
    }

    fn settled_among(
        &self,
        service: Name,
        deliveries: Vec<Settled>,
    ) -> BoxFuture<'_, Result<Vec<bool>>> {
        Box::pin(async move {
            let rows: Vec<_> = deliveries.iter().map(inbox::key).collect();
            let found = self.database.reads(service)?.settled_among(&rows).await?;
            Ok(rows.iter().map(|row| found.contains(row)).collect())
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
                let reads = self.database.reads(service)?;
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
                let next = due::next(&self.database.reads(service)?).await?;
                soonest = [soonest, next].into_iter().flatten().min();
            }
            Ok(soonest)
        })
    }

    fn backlog(&self, service: Name, _: Timestamp) -> BoxFuture<'_, Result<Backlog>> {
        Box::pin(async move { backlog::count_all(&self.database.reads(service)?).await })
    }

    fn retain(&self, now: Timestamp) -> BoxFuture<'_, Result<u64>> {
        Box::pin(async move {
            let mut deleted = 0;
            for service in self.database.services() {
                let mut walks = self.database.walks(service);
                deleted += retain::retain(&self.database.reads(service)?, now, &mut walks).await?;
                self.database.keep_walks(service, walks);
            }
            Ok(deleted)
        })
    }

    fn outbox(&self) -> Option<Arc<dyn Outbox>> {
        Some(Arc::new(PostgresOutbox::new(Arc::clone(&self.database))))
    }

    /// The schema `wingbeat_bodies`, which all services share.
    fn bodies(&self) -> Option<Arc<dyn Bodies>> {
        Some(self.bodies.clone())
    }
}
