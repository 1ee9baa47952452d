//! A connection that is made anew whenever it is gone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lapin::types::LongString;
use lapin::uri::AMQPUri;
use lapin::{Connection, ConnectionProperties, ErrorKind};
use tokio::time::Instant;
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{Error, Result, RuntimeExt as _};

use crate::Config;

/// The pause after the first failure to connect; doubled with each, plus as much again by chance.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(3);
/// Longest wait for what is done on a new connection: some hundred queues.
const PREPARE: Duration = Duration::from_secs(30);

/// What the broker says (AMQP 0-9-1, section 1.2).
const ACCESS_REFUSED: u16 = 403;
pub(crate) const NOT_FOUND: u16 = 404;
pub(crate) const PRECONDITION_FAILED: u16 = 406;
const NOT_ALLOWED: u16 = 530;
/// The code of an error: a queue or an exchange is not there.
pub(crate) const LACKING: &str = "broker_lacks";
/// The largest frame in bytes, unless the URL says otherwise; what is longer travels in several. The client keeps
/// room for 32 of them in each direction of a connection: of RabbitMQ's 128 KiB that is 16 MiB a process, all of it
/// touched.
const FRAME_MAX: u32 = 16 << 10;

/// One connection to the broker, and how to make another.
pub(crate) struct Link {
    what: &'static str,
    name: LongString,
    address: AMQPUri,
    connect_timeout: Duration,
    runtime: SharedRuntime,
    connecting: tokio::sync::Mutex<Attempts>,
    current: Mutex<Option<Arc<Connection>>>,
}

#[derive(Default)]
struct Attempts {
    /// There was a connection once: from then on, what becomes of it is logged here.
    started: bool,
    failed: u32,
    not_before: Option<Instant>,
    last: Option<(&'static str, String)>,
}

impl Link {
    pub(crate) fn new(config: &Config, what: &'static str, runtime: SharedRuntime) -> Result<Self> {
        let mut address: AMQPUri = config.url.parse().map_err(|_| {
            // What the parser says may contain the password.
            let text = "not a URL of AMQP (amqp://user:password@host:port/vhost)";
            Error::reject("broker_url_invalid", text)
        })?;
        let seconds = config.heartbeat.as_secs().max(1);
        address.query.heartbeat = Some(u16::try_from(seconds).unwrap_or(u16::MAX));
        address.query.frame_max.get_or_insert(FRAME_MAX);
        Ok(Self {
            what,
            name: format!("{} {what}", config.name).into(),
            address,
            connect_timeout: config.connect_timeout,
            runtime,
            connecting: tokio::sync::Mutex::default(),
            current: Mutex::new(None),
        })
    }

    fn slot(&self) -> MutexGuard<'_, Option<Arc<Connection>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection, while it is up.
    pub(crate) fn up(&self) -> Option<Arc<Connection>> {
        self.slot()
            .clone()
            .filter(|connection| connection.status().connected())
    }

    /// Whether the broker has told us to stop publishing.
    pub(crate) fn is_blocked(&self) -> bool {
        self.up()
            .is_some_and(|connection| connection.status().blocked())
    }

    /// The connection; made anew if it is gone, and then prepared before anybody else gets it. While the
    /// broker is away, calls fail at once but one every now and then.
    pub(crate) async fn connection(
        &self,
        prepare: impl AsyncFnOnce(&Connection) -> Result<()>,
    ) -> Result<Arc<Connection>> {
        if let Some(connection) = self.up() {
            return Ok(connection);
        }
        let mut attempts = self.connecting.lock().await;
        if let Some(connection) = self.up() {
            return Ok(connection);
        }
        if let (Some(at), Some((code, text))) = (attempts.not_before, &attempts.last)
            && Instant::now() < at
        {
            return Err(Error::retry(code, text.clone()));
        }
        let made = async {
            let connection = self.open().await?;
            let prepared = tokio::time::timeout(PREPARE, prepare(&connection)).await;
            prepared.unwrap_or_else(|_| Err(silent()))?;
            Ok(connection)
        };
        match made.await {
            Ok(connection) => {
                if attempts.failed > 0 {
                    tracing::info!(connection = self.what, "RabbitMQ can be reached again");
                }
                *attempts = Attempts {
                    started: true,
                    ..Attempts::default()
                };
                let connection = Arc::new(connection);
                *self.slot() = Some(Arc::clone(&connection));
                Ok(connection)
            }
            Err(why) => {
                self.failed(&mut attempts, &why);
                Err(why)
            }
        }
    }

    /// Says what is wrong once, not at each attempt, and makes the next one wait.
    fn failed(&self, attempts: &mut Attempts, why: &Error) {
        let told = (why.code(), why.to_string());
        if attempts.started && attempts.last.as_ref() != Some(&told) {
            tracing::error!(connection = self.what, code = told.0, "{}", told.1);
        }
        let pause = (PAUSE_MIN * 2_u32.pow(attempts.failed.min(10))).min(PAUSE_MAX);
        attempts.not_before = Some(Instant::now() + pause + self.runtime.jitter(pause));
        attempts.failed += 1;
        attempts.last = Some(told);
    }

    async fn open(&self) -> Result<Connection> {
        let properties = ConnectionProperties::default().with_connection_name(self.name.clone());
        let connecting = Connection::connect_uri(self.address.clone(), properties);
        match tokio::time::timeout(self.connect_timeout, connecting).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(why)) => Err(away(&why)),
            Err(_) => Err(silent()),
        }
    }
}

/// There was no answer in time.
pub(crate) fn silent() -> Error {
    Error::retry("broker_away", "RabbitMQ does not answer")
}

/// The code of what the broker said, if it said anything (AMQP 0-9-1, section 1.2).
pub(crate) fn said(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::ProtocolError(said) => Some(said.get_id()),
        _ => None,
    }
}

/// As the port's error: try again. Whether the broker refuses us is told apart, for the start.
pub(crate) fn away(error: &lapin::Error) -> Error {
    let text = format!("RabbitMQ: {error}");
    match said(error) {
        Some(ACCESS_REFUSED | NOT_ALLOWED) => Error::retry("broker_refused", text),
        Some(NOT_FOUND) => Error::retry(LACKING, text),
        _ => Error::retry("broker_away", text),
    }
}
