//! The pool of connections.

use std::sync::Arc;
use std::time::Duration;

use deadpool::managed::QueueMode;
use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, RecyclingMethod, Runtime,
};
use tokio::sync::Semaphore;
use tokio_postgres::NoTls;
use tokio_postgres::config::Host;
use wingbeat_core::{Error, Result};

use crate::config::Config;
use crate::fault::{Fault, describe, is_refusal, unavailable};
use crate::transaction::{BEGIN, Transaction};

/// Session settings. The store runs few distinct statements, so each is planned once. Nested loops
/// over arrays are fast at any table size; without these settings, a plan made for an empty table
/// would scan the whole table later.
const SETTINGS: &str = "SET client_min_messages = warning; SET jit = off;
    SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off;
    SET enable_hashjoin = off; SET enable_mergejoin = off; SET TIME ZONE 'UTC'";

/// One connection for a handler's transaction, and one for commits.
const CONNECTIONS_MIN: usize = 2;
const DEFAULT_PORT: u16 = 5432;
/// Lock timeout in a batch that has already had a lock timeout.
const LOCK_TIMEOUT_REDUCED: Duration = Duration::from_millis(50);

/// The pool of connections.
#[derive(Clone)]
pub(crate) struct Pool {
    inner: deadpool_postgres::Pool,
    /// Timeout of a response. It is longer than the server's own statement timeout.
    response_timeout: Duration,
    /// Permits for handlers' transactions. There are fewer than connections, so that commits always
    /// find a connection.
    transactions: Arc<Semaphore>,
    /// SQL that begins a handler's transaction.
    begin: String,
    /// SQL that sets the lock timeout for statements of services in the open transaction.
    set_lock_timeout: String,
    set_lock_timeout_reduced: String,
    connect_timeout: Duration,
    /// Address of the server, for messages.
    address: String,
}

impl Pool {
    /// Creates a pool. It connects when a connection is needed.
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
        let address = address(&server);
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
            // The connection that was used last has warm caches.
            .queue_mode(QueueMode::Lifo)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(config.connect_timeout))
            .create_timeout(Some(config.connect_timeout))
            .post_create(set)
            .build()
            .map_err(|why| Error::reject("store_pool", why.to_string()))?;
        let set_lock_timeout = lock_timeout(config.lock_timeout);
        // A handler that hangs loses its transaction after this time.
        let idle = config.statement_timeout.as_millis();
        let begin = format!(
            "{BEGIN}; {set_lock_timeout}; SET LOCAL idle_in_transaction_session_timeout = {idle}"
        );
        Ok(Self {
            inner,
            response_timeout: config.statement_timeout + Duration::from_secs(1),
            transactions: Arc::new(Semaphore::new(connections / 2)),
            begin,
            set_lock_timeout,
            set_lock_timeout_reduced: lock_timeout(config.lock_timeout.min(LOCK_TIMEOUT_REDUCED)),
            connect_timeout: config.connect_timeout,
            address,
        })
    }

    /// Begins a handler's transaction on a connection of its own.
    pub(crate) async fn begin(&self) -> Result<Transaction> {
        let permit = Arc::clone(&self.transactions).acquire_owned();
        let permit = tokio::time::timeout(self.connect_timeout, permit).await;
        let Ok(Ok(permit)) = permit else {
            let text = "handlers have transactions open on half of the connections: \
                        raise `connections_max` or run fewer handlers at once";
            return Err(Error::retry("transactions_busy", text));
        };
        let transaction = Transaction::new(self.get().await?, permit);
        transaction.batch_execute(&self.begin).await?;
        Ok(transaction)
    }

    /// Returns whether this pool began the transaction.
    pub(crate) fn began(&self, transaction: &Transaction) -> bool {
        Arc::ptr_eq(transaction.permit().semaphore(), &self.transactions)
    }

    /// Sets the lock timeout for statements of services in the open transaction.
    pub(crate) async fn set_lock_timeout(
        &self,
        connection: &Object,
        reduced: bool,
    ) -> std::result::Result<(), Fault> {
        let sql = if reduced {
            &self.set_lock_timeout_reduced
        } else {
            &self.set_lock_timeout
        };
        let result = connection.batch_execute(sql).await;
        result.map_err(|e| Fault::of(&e))
    }

    /// Returns a connection; waits until one is free.
    pub(crate) async fn get(&self) -> Result<Object> {
        use deadpool_postgres::PoolError;
        self.inner.get().await.map_err(|error| {
            let (code, why) = match error {
                PoolError::Backend(error)
                | PoolError::PostCreateHook(HookError::Backend(error))
                    if is_refusal(&error) =>
                {
                    ("store_refused", describe(&error))
                }
                PoolError::Backend(error) => ("store_unavailable", describe(&error)),
                PoolError::Timeout(_) => ("store_unavailable", "timed out".to_owned()),
                other => ("store_unavailable", other.to_string()),
            };
            let text = format!("cannot connect to PostgreSQL at {}: {why}", self.address);
            Error::retry(code, text)
        })
    }

    /// Waits for a response of the server. After [`Fault::Unanswered`], the connection must not be
    /// used any more.
    pub(crate) async fn with_timeout<T>(
        &self,
        response: impl Future<Output = std::result::Result<T, Fault>>,
    ) -> std::result::Result<T, Fault> {
        let response = tokio::time::timeout(self.response_timeout, response).await;
        response.unwrap_or(Err(Fault::Unanswered))
    }

    /// Checks that the server responds and accepts writes. Closes the connection to a server that
    /// is read-only: after a failover, the next one leads to the server that took over.
    pub(crate) async fn ping(&self) -> Result<()> {
        let connection = self.get().await?;
        let reply = connection.query_one("SHOW transaction_read_only", &[]);
        let why = match tokio::time::timeout(self.response_timeout, reply).await {
            Ok(Ok(row)) if row.get::<_, &str>(0) == "off" => return Ok(()),
            Ok(Ok(_)) => {
                let text = format!("PostgreSQL at {} is read-only", self.address);
                Error::retry("store_unavailable", text)
            }
            Ok(Err(error)) => unavailable(&error),
            Err(_) => unanswered(),
        };
        drop(Object::take(connection));
        Err(why)
    }

    /// Calls `work` with a connection. Closes the connection if the server does not respond in
    /// time: it may be dead although no error was reported.
    pub(crate) async fn run<T>(&self, work: impl AsyncFnOnce(&Object) -> Result<T>) -> Result<T> {
        let connection = self.get().await?;
        match tokio::time::timeout(self.response_timeout, work(&connection)).await {
            Ok(result) => result,
            Err(_) => {
                drop(Object::take(connection));
                Err(unanswered())
            }
        }
    }
}

fn unanswered() -> Error {
    Error::retry("store_unavailable", "PostgreSQL did not respond in time")
}

fn lock_timeout(timeout: Duration) -> String {
    format!("SET LOCAL lock_timeout = {}", timeout.as_millis())
}

/// Returns the server's address without credentials, for messages.
fn address(server: &tokio_postgres::Config) -> String {
    let ports = server.get_ports();
    let hosts = server.get_hosts().iter().enumerate().map(|(at, host)| {
        let port = ports.get(at).or(ports.first()).copied();
        let port = port.unwrap_or(DEFAULT_PORT);
        match host {
            Host::Tcp(name) => format!("{name}:{port}"),
            Host::Unix(path) => path.display().to_string(),
        }
    });
    hosts.collect::<Vec<_>>().join(",")
}
