//! The connection to Redis, which is opened again after it is lost or silent.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind, Value};
use tokio::sync::Mutex;
use wingbeat_core::{Error, Result};

use crate::server::{Server, check_master, is_demoted, timed_out, unavailable};

/// The code of the error for an unknown script hash.
pub(crate) const NO_SCRIPT: &str = "no_script";
/// The code of the error for a key of another type than the command needs.
pub(crate) const WRONG_TYPE: &str = "cache_wrong_type";
/// The code of the error for any other refused command.
const FAILED: &str = "cache_failed";
/// The error replies of a server that refuses commands whatever they are about: it is loading,
/// full, read-only, busy or failing, or it no longer accepts the password.
const UNAVAILABLE: [&str; 10] = [
    "LOADING",
    "MASTERDOWN",
    "READONLY",
    "OOM",
    "MISCONF",
    "NOREPLICAS",
    "BUSY",
    "CLUSTERDOWN",
    "NOAUTH",
    "WRONGPASS",
];

/// One connection that all callers share.
pub(crate) struct SharedConnection {
    server: Server,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    /// The number of connections so far, so that a caller discards only the one that failed.
    generation: u64,
    connection: Option<MultiplexedConnection>,
}

impl SharedConnection {
    pub(crate) fn new(server: Server) -> Self {
        Self {
            server,
            current: Mutex::default(),
        }
    }

    /// Sends a command and returns the reply. `limit` applies to the reply, and to opening a
    /// connection to each host.
    ///
    /// After any failure that is not a reply of the server, the connection is discarded: one whose
    /// peer is silent looks like any other. So is one to a server that became a replica.
    /// A connection that was closed while idle fails only now,
    /// so the command is sent once more on a new one.
    pub(crate) async fn send<T: FromRedisValue>(
        &self,
        command: &Cmd,
        limit: Duration,
    ) -> Result<T> {
        match self.attempt(command, limit).await {
            Err(Failed::Closed(_)) => {}
            other => return other.map_err(Failed::into_error),
        }
        self.attempt(command, limit)
            .await
            .map_err(Failed::into_error)
    }

    async fn attempt<T: FromRedisValue>(
        &self,
        command: &Cmd,
        limit: Duration,
    ) -> std::result::Result<T, Failed> {
        let (generation, mut connection) =
            self.connection(limit).await.map_err(Failed::Unavailable)?;
        let failed = match tokio::time::timeout(limit, command.query_async(&mut connection)).await {
            Ok(Ok(reply)) => return Ok(reply),
            Ok(Err(why)) if why.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                let text = "Redis does not know the script";
                return Err(Failed::Unavailable(Error::retry(NO_SCRIPT, text)));
            }
            Ok(Err(why)) if why.code().is_some() && !is_demoted(&why) => {
                return Err(Failed::Unavailable(refused(&why)));
            }
            // The command is sent to the server that took over.
            Ok(Err(why)) if is_demoted(&why) || why.is_connection_dropped() => {
                Failed::Closed(unavailable(&why))
            }
            Ok(Err(why)) => Failed::Unavailable(unavailable(&why)),
            Err(_) => Failed::Unavailable(timed_out()),
        };
        self.discard(generation).await;
        Err(failed)
    }

    /// Discards a connection, unless it was replaced already.
    async fn discard(&self, generation: u64) {
        let mut current = self.current.lock().await;
        if current.generation == generation {
            current.connection = None;
        }
    }

    /// Checks a reply to [`hello`](crate::server::hello). Discards the connection to a server that
    /// is not a master.
    pub(crate) async fn check(&self, about: &Value) -> Result<()> {
        let checked = check_master(about);
        if checked.is_err() {
            self.current.lock().await.connection = None;
        }
        checked
    }

    async fn connection(&self, limit: Duration) -> Result<(u64, MultiplexedConnection)> {
        let mut current = self.current.lock().await;
        if let Some(connection) = &current.connection {
            return Ok((current.generation, connection.clone()));
        }
        let connection = self.server.open(limit).await?;
        current.generation += 1;
        current.connection = Some(connection.clone());
        Ok((current.generation, connection))
    }
}

/// A failed attempt.
enum Failed {
    /// The connection was closed, perhaps long before the attempt, or leads to a replica.
    Closed(Error),
    /// Any other failure.
    Unavailable(Error),
}

impl Failed {
    fn into_error(self) -> Error {
        match self {
            Self::Closed(why) | Self::Unavailable(why) => why,
        }
    }
}

/// Returns whether the error is the server's answer to one command.
pub(crate) fn is_answer(error: &Error) -> bool {
    matches!(error.code(), NO_SCRIPT | WRONG_TYPE | FAILED)
}

/// Converts an error reply.
fn refused(error: &RedisError) -> Error {
    let (code, detail) = (
        error.code().unwrap_or_default(),
        error.detail().unwrap_or_default(),
    );
    // Before version 7, a script's error has the code ERR, and the text contains the cause.
    let causes = |cause: &&str| code == *cause || detail.contains(&format!("-{cause} "));
    if UNAVAILABLE.iter().any(causes) {
        return unavailable(error);
    }
    let text = format!("Redis refused the command: {error}");
    match code {
        "WRONGTYPE" => Error::retry(WRONG_TYPE, text),
        _ => Error::retry(FAILED, text),
    }
}
