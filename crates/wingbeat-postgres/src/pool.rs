//! Connections.

use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::QueueMode;
use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, RecyclingMethod, Runtime,
};
use tokio::sync::Semaphore;
use tokio_postgres::NoTls;
use wingbeat_core::{Error, Result};

use crate::Config;
use crate::fault::{Fault, is_refusal, told};
use crate::transaction::{BEGIN, Transaction};

/// Statements are few and always the same, so plans are made once. Nested loops over arrays are right at
/// any size of the tables; without these settings a plan made while a table was empty reads all of it.
const SETTINGS: &str =
    "SET client_min_messages = warning; SET jit = off; SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off;
    SET enable_hashjoin = off; SET enable_mergejoin = off; SET TIME ZONE 'UTC'";

/// One for a transaction that a handler has open, and one for commits.
const CONNECTIONS_MIN: usize = 2;
/// Longest wait for a lock of a unit whose batch has waited for one in vain.
const HURRIED: Duration = Duration::from_millis(50);

/// Keeps connections and makes new ones.
#[derive(Clone)]
pub(crate) struct Pool {
    inner: deadpool_postgres::Pool,
    patience: Duration,
    /// Transactions that handlers may have open: never so many that commits find no connection.
    transactions: Arc<Semaphore>,
    /// What begins one, and what limits the statements of a service's own in a transaction that is open.
    begin: String,
    limits: String,
    limits_hurried: String,
    connect_timeout: Duration,
}

impl Pool {
    pub(crate) fn new(config: &Config) -> Result<Self> {
        let mut server: tokio_postgres::Config = config.url.parse().map_err(|_| {
            let text = "not a URL of PostgreSQL (postgres://user:password@host:port/database)";
            Error::reject("store_url_invalid", text)
        })?;
        server
            .application_name("wingbeat")
            .connect_timeout(config.connect_timeout)
            .keepalives_idle(Duration::from_secs(10))
            .tcp_user_timeout(config.statement_timeout);
        let manager = Manager::from_config(
            server,
            NoTls,
            ManagerConfig {
                recycling_method: RecyclingMethod::Fast,
            },
        );
        let settings = format!(
            "{SETTINGS}; SET statement_timeout = {}",
            config.statement_timeout.as_millis()
        );
        let set = Hook::async_fn(move |client: &mut deadpool_postgres::ClientWrapper, _| {
            let settings = settings.clone();
            Box::pin(async move {
                let set = client.batch_execute(&settings).await;
                set.map_err(HookError::Backend)
            })
        });
        let connections = config.connections_max.max(CONNECTIONS_MIN);
        let inner = deadpool_postgres::Pool::builder(manager)
            .max_size(connections)
            // What was used last is warm: its plans, its pages, the caches of its processor.
            .queue_mode(QueueMode::Lifo)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(config.connect_timeout))
            .create_timeout(Some(config.connect_timeout))
            .post_create(set)
            .build()
            .map_err(|why| Error::reject("store_pool", why.to_string()))?;
        let patience = config.statement_timeout + Duration::from_secs(1);
        let limits = lock_timeout(config.lock_timeout);
        // A handler that hangs loses its transaction, and nobody else more than this time.
        let idle = config.statement_timeout.as_millis();
        let begin =
            format!("{BEGIN}; {limits}; SET LOCAL idle_in_transaction_session_timeout = {idle}");
        Ok(Self {
            inner,
            patience,
            transactions: Arc::new(Semaphore::new(connections / 2)),
            begin,
            limits,
            limits_hurried: lock_timeout(config.lock_timeout.min(HURRIED)),
            connect_timeout: config.connect_timeout,
        })
    }

    /// A connection with a transaction on it.
    pub(crate) async fn begin(&self) -> Result<Transaction> {
        let permit = Arc::clone(&self.transactions).acquire_owned();
        let permit = tokio::time::timeout(self.connect_timeout, permit).await;
        let Ok(Ok(permit)) = permit else {
            let words =
                "half of the connections have a transaction open: too many handlers at once";
            return Err(Error::retry("transactions_busy", words));
        };
        let transaction = Transaction::new(self.get().await?, permit);
        transaction.batch(&self.begin).await?;
        Ok(transaction)
    }

    /// Whether the transaction is one of ours.
    pub(crate) fn began(&self, transaction: &Transaction) -> bool {
        Arc::ptr_eq(transaction.permit().semaphore(), &self.transactions)
    }

    /// Limits what follows in the transaction that is open.
    pub(crate) async fn limit(
        &self,
        connection: &Object,
        hurried: bool,
    ) -> std::result::Result<(), Fault> {
        let limits = if hurried {
            &self.limits_hurried
        } else {
            &self.limits
        };
        let limited = connection.batch_execute(limits).await;
        limited.map_err(|e| Fault::of(&e))
    }

    pub(crate) async fn get(&self) -> Result<Object> {
        use deadpool_postgres::PoolError;
        self.inner.get().await.map_err(|why| match why {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error))
                if is_refusal(&error) =>
            {
                Error::retry("store_refused", told(&error))
            }
            PoolError::Backend(error) => Error::retry("store_away", told(&error)),
            PoolError::Timeout(_) => {
                Error::retry("store_away", "no connection to PostgreSQL in time")
            }
            other => Error::retry("store_away", other.to_string()),
        })
    }

    /// What is asked of the server, unless it takes longer than a statement may. Then the connection must not be used
    /// any more.
    pub(crate) async fn patiently<T>(
        &self,
        asked: impl Future<Output = std::result::Result<T, Fault>>,
    ) -> std::result::Result<T, Fault> {
        let answer = tokio::time::timeout(self.patience, asked).await;
        answer.unwrap_or(Err(Fault::Silent))
    }

    /// `work` on any connection. If it takes longer than the server may, the connection is given up: it
    /// may be dead without anybody having said so.
    pub(crate) async fn run<T>(&self, work: impl AsyncFnOnce(&Object) -> Result<T>) -> Result<T> {
        let connection = self.get().await?;
        match tokio::time::timeout(self.patience, work(&connection)).await {
            Ok(done) => done,
            Err(_) => {
                drop(Object::take(connection));
                Err(Error::retry("store_away", "PostgreSQL does not answer"))
            }
        }
    }
}

fn lock_timeout(longest: Duration) -> String {
    format!("SET LOCAL lock_timeout = {}", longest.as_millis())
}
