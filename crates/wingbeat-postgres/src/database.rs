//! The database: its connections and the schemas of the services.

use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::try_join_all;
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::unit::Outcome;
use wingbeat_core::{Envelope, Error, HashMap, Name, Result, Unit};

use crate::clock::micros;
use crate::commit::{self, Target};
use crate::config::Config;
use crate::grants::{Access, Grants};
use crate::layout::{self, COMMIT_NAME, SchemaName, not_granted};
use crate::places::Places;
use crate::pool::Pool;
use crate::reads::Reads;
use crate::retain::Walks;

/// Number of rows of a counter. Processes add to different rows, so that they do not wait for each
/// other.
const COUNTER_ROWS: u64 = 32;

/// The database, shared by the store and the outbox.
pub(crate) struct Database {
    pub(crate) pool: Pool,
    pub(crate) places: Places,
    schema_prefix: String,
    /// The row of each counter that this process adds to.
    counter_row: i16,
    runtime: SharedRuntime,
    schemas: RwLock<HashMap<Name, Schema>>,
    /// The places at which the sweeps continue.
    walks: Mutex<HashMap<Name, Walks>>,
}

/// A schema that was created or migrated.
#[derive(Clone)]
struct Schema {
    /// The quoted name.
    name: &'static str,
    /// Separates the advisory locks of this schema from those of other schemas.
    lock_namespace: i32,
    /// The statement that commits.
    commit: Arc<str>,
    access: Access,
}

/// The names of a schema.
pub(crate) struct Names {
    pub(crate) plain: String,
    pub(crate) quoted: &'static str,
    pub(crate) lock: i32,
}

impl Names {
    fn as_ref(&self) -> SchemaName<'_> {
        SchemaName {
            plain: &self.plain,
            quoted: self.quoted,
            lock: self.lock,
        }
    }
}

impl Database {
    /// Connects to the database.
    pub(crate) async fn connect(config: &Config, runtime: SharedRuntime) -> Result<Self> {
        let pool = Pool::connect(config).await?;
        Ok(Self {
            pool,
            places: Places::default(),
            schema_prefix: config.schema_prefix.clone(),
            counter_row: i16::try_from(runtime.random() % COUNTER_ROWS).unwrap_or_default(),
            runtime,
            schemas: RwLock::default(),
            walks: Mutex::default(),
        })
    }

    /// Returns the places at which the sweep of a service continues.
    pub(crate) fn walks(&self, service: Name) -> Walks {
        let walks = self.walks.lock().unwrap_or_else(PoisonError::into_inner);
        walks.get(&service).copied().unwrap_or_default()
    }

    /// Keeps the places at which the next sweep of a service continues.
    pub(crate) fn keep_walks(&self, service: Name, walks: Walks) {
        let mut all = self.walks.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(service, walks);
    }

    /// Creates or migrates the schema of a service, unless it is current.
    pub(crate) async fn prepare(&self, service: Name) -> Result<()> {
        let names = self.names(service);
        let mut connection = self.pool.get().await?;
        let access = layout::prepare(&mut connection, names.as_ref()).await?;
        self.add(service, &names, access);
        Ok(())
    }

    /// Checks that the schema of a service can be read, without changing it.
    pub(crate) async fn inspect(&self, service: Name) -> Result<()> {
        let names = self.names(service);
        let connection = self.pool.get().await?;
        let access = layout::inspect(&connection, names.as_ref()).await?;
        self.add(service, &names, access);
        Ok(())
    }

    fn add(&self, service: Name, names: &Names, access: Access) {
        let schema = Schema {
            name: names.quoted,
            lock_namespace: names.lock,
            commit: commit::statement(names.quoted).into(),
            access,
        };
        let mut schemas = self.schemas.write().unwrap_or_else(PoisonError::into_inner);
        schemas.insert(service, schema);
    }

    /// Creates or migrates the schema of a service, and grants privileges on it.
    pub(crate) async fn migrate(&self, service: Name, grants: &Grants) -> Result<()> {
        let names = self.names(service);
        let grants = grants.statements(service, names.quoted, COMMIT_NAME);
        let mut connection = self.pool.get().await?;
        layout::migrate(&mut connection, names.as_ref(), &grants).await
    }

    /// Checks that the role may write the schema of a service.
    pub(crate) fn check_writable(&self, service: Name) -> Result<()> {
        match self.schema(service)?.access {
            Access::Write => Ok(()),
            _ => Err(not_granted(&format!(
                "the role may not write all tables of the schema of {service}"
            ))),
        }
    }

    pub(crate) fn names(&self, service: Name) -> Names {
        let plain = format!("{}{service}", self.schema_prefix).replace('"', "");
        Names {
            lock: commit::lock_namespace(&plain),
            quoted: Name::intern(&format!("\"{plain}\"")).as_str(),
            plain,
        }
    }

    fn schema(&self, service: Name) -> Result<Schema> {
        let schemas = self.schemas.read().unwrap_or_else(PoisonError::into_inner);
        schemas.get(&service).cloned().ok_or_else(|| {
            let text = format!("the schema of {service} is not prepared: call `Store::prepare`");
            Error::retry("store_unprepared", text)
        })
    }

    /// Returns the queries on a service's schema.
    pub(crate) fn reads(&self, service: Name) -> Result<Reads<'_>> {
        let schema = self.schema(service)?;
        Ok(Reads {
            pool: &self.pool,
            schema: schema.name,
        })
    }

    /// Returns the services whose schemas are prepared, in order.
    pub(crate) fn services(&self) -> Vec<Name> {
        let schemas = self.schemas.read().unwrap_or_else(PoisonError::into_inner);
        let mut services: Vec<Name> = schemas.keys().copied().collect();
        services.sort_unstable();
        services
    }

    /// Commits units. Returns their outcomes in order, and the messages that were claimed for
    /// `lease`.
    pub(crate) async fn commit(
        &self,
        units: &[Unit],
        lease: Option<Duration>,
    ) -> Result<(Vec<Outcome>, Vec<Envelope>)> {
        let mut by_service: HashMap<Name, Vec<(usize, &Unit)>> = HashMap::default();
        for (position, unit) in units.iter().enumerate() {
            let own = by_service.entry(unit.service).or_default();
            own.push((position, unit));
        }
        let commits = by_service
            .into_iter()
            .map(|(service, units)| self.commit_of(service, units, lease));
        let (outcomes, claimed): (Vec<_>, Vec<_>) =
            try_join_all(commits).await?.into_iter().unzip();
        let mut outcomes: Vec<(usize, Outcome)> = outcomes.concat();
        outcomes.sort_unstable_by_key(|(position, _)| *position);
        let outcomes = outcomes.into_iter().map(|(_, outcome)| outcome).collect();
        Ok((outcomes, claimed.concat()))
    }

    /// Commits the units of one service. Returns their outcomes by position, and the claimed
    /// messages.
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
            lock_namespace: schema.lock_namespace,
            commit: &schema.commit,
            counter_row: self.counter_row,
            now: self.runtime.now(),
            lease: lease.map(micros),
            places: &self.places,
            service,
        };
        let (positions, units): (Vec<usize>, Vec<&Unit>) = units.into_iter().unzip();
        let connection = self.pool.get().await?;
        let (outcomes, claimed) = commit::commit(connection, &target, &units).await?;
        Ok((positions.into_iter().zip(outcomes).collect(), claimed))
    }
}
