//! A connection that is opened again after it is lost.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lapin::types::LongString;
use lapin::{Connection, ConnectionProperties, ErrorKind};
use tokio::time::Instant;
use wingbeat_connect::{ConnectError, Host, connect, is_tls_error};
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{Error, Result, RuntimeExt as _};

use crate::Config;
use crate::address::Address;
use crate::socket::{FRAME_MAX, handshake};

/// The pause after the first failed attempt to connect. It doubles with each failure, and up to its
/// own length is added at random, so that processes do not reconnect together.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest pause, before the random part.
const PAUSE_MAX: Duration = Duration::from_secs(3);
/// The time limit for closing a connection. Afterwards the client closes it without a reply.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// The time limit for preparing a new connection: declaring some hundred queues.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(30);
// Reply codes (AMQP 0-9-1, section 1.2).
pub(crate) const ACCESS_REFUSED: u16 = 403;
pub(crate) const NOT_FOUND: u16 = 404;
pub(crate) const RESOURCE_LOCKED: u16 = 405;
pub(crate) const PRECONDITION_FAILED: u16 = 406;
const NOT_ALLOWED: u16 = 530;
/// The code of the error for a missing queue or exchange.
pub(crate) const MISSING: &str = "broker_lacks";

/// One connection of the transport, and the means to open it again.
pub(crate) struct BrokerConnection {
    purpose: &'static str,
    name: LongString,
    address: Arc<Address>,
    /// The index of the host to try first: the one that was connected last, or the one after it.
    first: AtomicUsize,
    runtime: SharedRuntime,
    /// Locked while a connection is opened, so that there is one attempt at a time.
    attempts: tokio::sync::Mutex<Attempts>,
    current: Mutex<Option<Arc<Connection>>>,
}

/// The attempts since the connection was lost.
#[derive(Default)]
struct Attempts {
    /// `true` once there was a connection. Before that, the caller reports the error.
    started: bool,
    failed: u32,
    not_before: Option<Instant>,
    last: Option<(&'static str, String)>,
}

impl BrokerConnection {
    pub(crate) fn new(
        config: &Config,
        address: Arc<Address>,
        purpose: &'static str,
        runtime: SharedRuntime,
    ) -> Self {
        Self {
            purpose,
            name: format!("{} {purpose}", config.name).into(),
            address,
            first: AtomicUsize::new(0),
            runtime,
            attempts: tokio::sync::Mutex::default(),
            current: Mutex::new(None),
        }
    }

    fn current(&self) -> MutexGuard<'_, Option<Arc<Connection>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the connection if it is open.
    fn open_connection(&self) -> Option<Arc<Connection>> {
        self.current()
            .clone()
            .filter(|connection| connection.status().connected())
    }

    /// Returns whether the broker has blocked the connection, so that it reads no messages from it.
    pub(crate) fn is_blocked(&self) -> bool {
        self.open_connection()
            .is_some_and(|connection| connection.status().blocked())
    }

    /// Returns the open connection, or opens one and runs `prepare` on it before any other task
    /// gets it.
    ///
    /// While the broker is unavailable, one caller at a time tries to connect after each pause; all
    /// others get the error of the last attempt at once.
    pub(crate) async fn get(
        &self,
        prepare: impl AsyncFnOnce(&Connection) -> Result<()>,
    ) -> Result<Arc<Connection>> {
        if let Some(connection) = self.open_connection() {
            return Ok(connection);
        }
        let mut attempts = self.attempts.lock().await;
        if let Some(connection) = self.open_connection() {
            return Ok(connection);
        }
        if let (Some(at), Some((code, text))) = (attempts.not_before, &attempts.last)
            && Instant::now() < at
        {
            return Err(Error::retry(code, text.clone()));
        }
        let opening = async {
            let connection = self.connect().await?;
            let prepared = tokio::time::timeout(PREPARE_TIMEOUT, prepare(&connection)).await;
            prepared.unwrap_or_else(|_| Err(timed_out()))?;
            Ok(connection)
        };
        match opening.await {
            Ok(connection) => {
                if attempts.failed > 0 {
                    tracing::info!(connection = self.purpose, "reconnected to RabbitMQ");
                }
                *attempts = Attempts {
                    started: true,
                    ..Attempts::default()
                };
                let connection = Arc::new(connection);
                *self.current() = Some(Arc::clone(&connection));
                Ok(connection)
            }
            Err(why) => {
                self.failed(&mut attempts, &why);
                Err(why)
            }
        }
    }

    /// Schedules the next attempt, and logs the error unless it is the one of the attempt before.
    fn failed(&self, attempts: &mut Attempts, why: &Error) {
        let error = (why.code(), why.to_string());
        if attempts.started && attempts.last.as_ref() != Some(&error) {
            tracing::error!(connection = self.purpose, code = error.0, "{}", error.1);
        }
        let pause = (PAUSE_MIN * 2_u32.pow(attempts.failed.min(10))).min(PAUSE_MAX);
        attempts.not_before = Some(Instant::now() + pause + self.runtime.jitter(pause));
        attempts.failed += 1;
        attempts.last = Some(error);
    }

    /// Opens a connection that only the caller uses.
    ///
    /// It connects to the first host that accepts the connection. If none does, it returns the
    /// error of the last one, or one that says more than that a host is unavailable.
    pub(crate) async fn connect(&self) -> Result<Connection> {
        let (hosts, first) = (&self.address.hosts, self.first.load(Ordering::Relaxed));
        let mut failed: Option<Error> = None;
        for turn in 0..hosts.len() {
            let at = (first + turn) % hosts.len();
            match self.connect_to(&hosts[at]).await {
                Ok(connection) => {
                    self.first.store(at, Ordering::Relaxed);
                    return Ok(connection);
                }
                Err(why) => {
                    let says_more = |it: &Error| it.code() != "broker_unavailable";
                    if !failed.as_ref().is_some_and(says_more) {
                        failed = Some(why);
                    }
                }
            }
        }
        Err(failed.unwrap_or_else(timed_out))
    }

    async fn connect_to(&self, host: &Host) -> Result<Connection> {
        let Address {
            uri,
            default_port,
            tls,
            connect_timeout,
            ..
        } = &*self.address;
        let address = format!("{}:{}", host.name, host.port.unwrap_or(*default_port));
        let at = |code, why: &str| {
            Error::retry(
                code,
                format!("cannot connect to RabbitMQ at {address}: {why}"),
            )
        };
        let mut uri = uri.clone();
        uri.query.frame_max.get_or_insert(FRAME_MAX);
        let properties = ConnectionProperties::default().with_connection_name(self.name.clone());
        let deadline = Instant::now() + *connect_timeout;
        let stream = connect(host, *default_port, tls.as_ref(), deadline).await;
        let stream = stream.map_err(|why| match why {
            ConnectError::Unavailable(why) => at("broker_unavailable", &why.to_string()),
            ConnectError::Tls(why) => at("broker_tls_failed", &format!("TLS fails: {why}")),
        })?;
        let opened = tokio::time::timeout_at(deadline, handshake(uri, properties, stream)).await;
        match opened {
            Ok(opened) => opened.map_err(|why| at(unavailable(&why).code(), &why.to_string())),
            Err(_) => Err(at("broker_unavailable", "no reply in time")),
        }
    }

    /// Drops the connection, on which the broker does not reply, if another one can be opened
    /// within `limit`. The next use opens it again, perhaps to another host.
    ///
    /// # Errors
    ///
    /// The reason why no other connection can be opened: the broker itself is unavailable.
    pub(crate) async fn replace_silent(&self, limit: Duration) -> Result<()> {
        let silent = self.current().clone();
        let opened = tokio::time::timeout(limit, self.connect()).await;
        let opened = opened.unwrap_or_else(|_| Err(timed_out()))?;
        let _ = opened.close(200, "done".into()).await; // The broker closes it with the socket.
        let mut current = self.current();
        let is_silent = |it: &Arc<Connection>| {
            silent
                .as_ref()
                .is_some_and(|silent| Arc::ptr_eq(it, silent))
        };
        if current.as_ref().is_some_and(is_silent) {
            tracing::warn!(connection = self.purpose, "replacing a silent connection");
            *current = None;
        }
        Ok(())
    }
}

/// Closes a connection. An error is of no interest: then the broker closes it with the socket.
pub(crate) async fn close(connection: Connection) {
    let closed = connection.close(200, "done".into());
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, closed).await;
}

/// Returns the error for a reply that did not arrive in time.
pub(crate) fn timed_out() -> Error {
    Error::retry("broker_unavailable", "RabbitMQ did not reply in time")
}

/// Returns the reply code of the broker, if it sent one.
pub(crate) fn reply_code(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::ProtocolError(reply) => Some(reply.get_id()),
        _ => None,
    }
}

/// Returns whether the broker refused the client's certificate, which it does after the handshake.
fn is_tls_failure(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::IOError(why) if is_tls_error(why))
}

/// Converts an error of the client. All are retried; a process that starts treats `broker_refused`
/// as final.
pub(crate) fn unavailable(error: &lapin::Error) -> Error {
    let text = format!("RabbitMQ: {error}");
    match reply_code(error) {
        Some(ACCESS_REFUSED | NOT_ALLOWED) => Error::retry("broker_refused", text),
        Some(NOT_FOUND) => Error::retry(MISSING, text),
        _ if is_tls_failure(error) => Error::retry("broker_tls_failed", text),
        _ => Error::retry("broker_unavailable", text),
    }
}
