//! The pool of connections.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use deadpool::managed::QueueMode;
use deadpool_postgres::{
    Hook, HookError, Manager, ManagerConfig, Object, RecyclingMethod, Runtime,
};
use tokio::sync::{Semaphore, watch};
use tokio_postgres::{CancelToken, SimpleQueryMessage};
use wingbeat_connect::warn_if_exposed;
use wingbeat_core::{Error, Result};

use crate::address::Address;
use crate::config::Config;
use crate::connector::{Connector, discard};
use crate::fault::{Fault, describe, is_read_only, is_refusal, is_tls_failure, unavailable};
use crate::pooled;
use crate::transaction::{BEGIN, Transaction};

/// Session settings. The store runs few distinct statements, so each is planned once. Nested loops
/// over arrays are fast at any table size; without these settings, a plan made for an empty table
/// would scan the whole table later.
const SETTINGS: &str = "SET client_min_messages = warning; SET jit = off;
    SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off;
    SET enable_hashjoin = off; SET enable_mergejoin = off; SET TIME ZONE 'UTC'";

/// Asks which server it is: another one has started at another time.
const SERVER: &str = "SELECT pg_postmaster_start_time()";

/// One connection for a handler's transaction, and one for commits.
const CONNECTIONS_MIN: usize = 2;
/// Time limit of a ping for each of its two steps, so that its caller waits for less than 3 s.
const PING_TIMEOUT: Duration = Duration::from_millis(1200);
/// Lock timeout in a batch that has already had a lock timeout.
const LOCK_TIMEOUT_REDUCED: Duration = Duration::from_millis(50);

/// The pool of connections.
#[derive(Clone)]
pub(crate) struct Pool {
    inner: deadpool_postgres::Pool,
    connector: Connector,
    server: tokio_postgres::Config,
    current: Arc<CurrentServer>,
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
    /// Creates a pool and opens its first connection.
    pub(crate) async fn connect(config: &Config) -> Result<Self> {
        let address = Address::parse(config)?;
        let (hosts, protection) = (address.hosts.clone(), address.protection);
        let pool = Self::new(config, address)?;
        let first = pool.get().await?;
        pooled::check(&first, &pool.connector, &pool.server, &pool.address).await?;
        drop(first);
        warn_if_exposed("PostgreSQL", &hosts, protection).await;
        Ok(pool)
    }

    fn new(config: &Config, address: Address) -> Result<Self> {
        let text = address.text();
        let (server, limit) = (address.server, address.connect_timeout);
        let every_host = limit * u32::try_from(address.hosts.len()).unwrap_or(1);
        let connector = Connector::new(address.hosts, address.tls, limit);
        let manager = Manager::from_connect(
            server.clone(),
            connector.clone(),
            ManagerConfig {
                recycling_method: RecyclingMethod::Fast,
            },
        );
        let settings = format!(
            "{SETTINGS}; SET statement_timeout = {}; {SERVER}",
            config.statement_timeout.as_millis()
        );
        let current = Arc::new(CurrentServer::default());
        let connected = Arc::clone(&current);
        let set = Hook::async_fn(move |client: &mut deadpool_postgres::ClientWrapper, _| {
            let (settings, connected) = (settings.clone(), Arc::clone(&connected));
            Box::pin(async move {
                let reply = client.simple_query(&settings).await;
                connected.note(&reply.map_err(HookError::Backend)?);
                Ok(())
            })
        });
        let connections = config.connections_max.max(CONNECTIONS_MIN);
        let inner = deadpool_postgres::Pool::builder(manager)
            .max_size(connections)
            // The connection that was used last has warm caches.
            .queue_mode(QueueMode::Lifo)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(limit))
            .create_timeout(Some(every_host))
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
            connector,
            server,
            current,
            response_timeout: config.statement_timeout + Duration::from_secs(1),
            transactions: Arc::new(Semaphore::new(connections / 2)),
            begin,
            set_lock_timeout,
            set_lock_timeout_reduced: lock_timeout(config.lock_timeout.min(LOCK_TIMEOUT_REDUCED)),
            connect_timeout: limit,
            address: text,
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

    /// Returns the largest number of connections.
    pub(crate) fn connections_max(&self) -> usize {
        self.inner.status().max_size
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
                PoolError::Backend(error)
                | PoolError::PostCreateHook(HookError::Backend(error))
                    if is_tls_failure(&error) =>
                {
                    ("store_tls_failed", describe(&error))
                }
                PoolError::Backend(error) => ("store_unavailable", describe(&error)),
                PoolError::Timeout(_) => ("store_unavailable", "timed out".to_owned()),
                other => ("store_unavailable", other.to_string()),
            };
            let text = format!("cannot connect to PostgreSQL at {}: {why}", self.address);
            Error::retry(code, text)
        })
    }

    /// Cancels the running statement of a connection.
    pub(crate) async fn cancel(
        &self,
        running: &CancelToken,
    ) -> std::result::Result<(), tokio_postgres::Error> {
        self.connector.cancel(running).await
    }

    /// Waits for a response of the server. After [`Fault::Unanswered`], the connection must not be
    /// used any more.
    pub(crate) async fn with_timeout<T>(
        &self,
        response: impl Future<Output = std::result::Result<T, Fault>>,
    ) -> std::result::Result<T, Fault> {
        let response = self.unless_abandoned(response).await;
        response.unwrap_or(Err(Fault::Unanswered))
    }

    /// Waits for a response; `None` after the timeout, or if the server is not the one to use any
    /// more.
    async fn unless_abandoned<T>(&self, response: impl Future<Output = T>) -> Option<T> {
        let mut abandoned = self.current.abandoned.subscribe();
        tokio::select! {
            biased;
            response = tokio::time::timeout(self.response_timeout, response) => response.ok(),
            _ = abandoned.changed() => None,
        }
    }

    /// Checks that the server responds and accepts writes.
    ///
    /// After a failover, the address leads to another server, and connections to the old one may be
    /// silent or read-only. They are closed here, so that the next ones lead to the new server.
    pub(crate) async fn ping(&self) -> Result<()> {
        let Ok(connection) = tokio::time::timeout(PING_TIMEOUT, self.get()).await else {
            return self.ping_anew().await; // All connections are in use, perhaps silent ones.
        };
        let connection = connection?;
        let reply = connection.query_one("SHOW transaction_read_only", &[]);
        let why = match tokio::time::timeout(PING_TIMEOUT, reply).await {
            Ok(Ok(row)) if row.get::<_, &str>(0) == "off" => return Ok(()),
            Ok(Ok(_)) => {
                let text = format!("PostgreSQL at {} is read-only", self.address);
                Error::retry("store_unavailable", text)
            }
            Ok(Err(error)) => unavailable(&error),
            Err(_) => {
                drop(Object::take(connection));
                self.ping_anew().await?;
                // The others are probably silent, too.
                self.inner.retain(|_, _| false);
                return Ok(());
            }
        };
        discard(connection);
        Err(why)
    }

    /// Checks the server on a connection outside the pool. If it is another server than the one
    /// before, calls stop waiting for that one.
    async fn ping_anew(&self) -> Result<()> {
        let ask = async {
            let (client, task) = self.connector.open(&self.server).await?;
            let reply = client.simple_query(SERVER).await;
            task.abort();
            reply
        };
        match tokio::time::timeout(PING_TIMEOUT, ask).await {
            Ok(Ok(reply)) => self.current.note(&reply),
            Ok(Err(error)) => return Err(unavailable(&error)),
            Err(_) => return Err(unanswered()),
        }
        Ok(())
    }

    /// Calls `work` with a connection. Closes the connection if the server does not respond in
    /// time: it may be dead although no error was reported.
    pub(crate) async fn run<T>(
        &self,
        work: impl AsyncFnOnce(&Object) -> std::result::Result<T, tokio_postgres::Error>,
    ) -> Result<T> {
        let connection = self.get().await?;
        match self.unless_abandoned(work(&connection)).await {
            Some(Ok(result)) => Ok(result),
            Some(Err(error)) => {
                if is_read_only(&error) {
                    discard(connection);
                }
                Err(unavailable(&error))
            }
            None => {
                discard(connection);
                Err(unanswered())
            }
        }
    }
}

/// The server that was connected last.
#[derive(Default)]
struct CurrentServer {
    /// Its start time, which identifies it.
    started: Mutex<Option<String>>,
    /// Changes when the address leads to another server: calls stop waiting for the old one.
    abandoned: watch::Sender<()>,
}

impl CurrentServer {
    /// Notes which server has sent a reply to [`SERVER`].
    fn note(&self, reply: &[SimpleQueryMessage]) {
        let now = reply.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        if now.is_none() || *started == now {
            return;
        }
        if std::mem::replace(&mut *started, now).is_some() {
            tracing::warn!("PostgreSQL is another server now, or was restarted");
            self.abandoned.send_replace(());
        }
    }
}

fn unanswered() -> Error {
    Error::retry("store_unavailable", "PostgreSQL did not respond in time")
}

fn lock_timeout(timeout: Duration) -> String {
    format!("SET LOCAL lock_timeout = {}", timeout.as_millis())
}
