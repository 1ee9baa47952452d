//! The connection, made anew whenever it is lost or says nothing.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind,
};
use tokio::sync::Mutex;
use wingbeat_core::{Error, Result};

/// The code of the error that a script is not known, by its hash.
pub(crate) const NO_SCRIPT: &str = "no_script";

/// One connection for all callers.
pub(crate) struct Line {
    client: Client,
    /// With a number, so that only the one that failed is given up.
    current: Mutex<(u64, Option<MultiplexedConnection>)>,
}

impl Line {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            current: Mutex::new((0, None)),
        }
    }

    /// Asks on the connection; `limit` is the longest wait for an answer, and for a connection. After anything but an
    /// answer of the server itself the connection is given up: one that swallows what it is told looks like any other.
    /// One that was closed while nobody used it shows that only now, so the question is asked once more on another.
    pub(crate) async fn ask<T: FromRedisValue>(&self, command: &Cmd, limit: Duration) -> Result<T> {
        match self.attempt(command, limit).await {
            Err(Failed::Closed(_)) => {}
            other => return other.map_err(Failed::told),
        }
        self.attempt(command, limit).await.map_err(Failed::told)
    }

    async fn attempt<T: FromRedisValue>(
        &self,
        command: &Cmd,
        limit: Duration,
    ) -> std::result::Result<T, Failed> {
        let (number, mut connection) = self.connection(limit).await.map_err(Failed::Away)?;
        let failed = match tokio::time::timeout(limit, command.query_async(&mut connection)).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(why)) if why.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                return Err(Failed::Away(Error::retry(
                    NO_SCRIPT,
                    "Redis forgot a script",
                )));
            }
            Ok(Err(why)) if matches!(why.kind(), ErrorKind::Server(_)) => {
                return Err(Failed::Away(away(&why)));
            }
            Ok(Err(why)) if why.is_connection_dropped() => Failed::Closed(away(&why)),
            Ok(Err(why)) => Failed::Away(away(&why)),
            Err(_) => Failed::Away(Error::retry("cache_away", "Redis does not answer")),
        };
        let mut current = self.current.lock().await;
        if current.0 == number {
            current.1 = None;
        }
        Err(failed)
    }

    async fn connection(&self, limit: Duration) -> Result<(u64, MultiplexedConnection)> {
        let mut current = self.current.lock().await;
        if let (number, Some(connection)) = &*current {
            return Ok((*number, connection.clone()));
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(limit))
            .set_response_timeout(None);
        let connecting = self
            .client
            .get_multiplexed_async_connection_with_config(&config);
        let connection = match tokio::time::timeout(limit, connecting).await {
            Ok(connection) => connection.map_err(|e| away(&e))?,
            Err(_) => return Err(Error::retry("cache_away", "Redis does not answer")),
        };
        *current = (current.0 + 1, Some(connection.clone()));
        Ok((current.0, connection))
    }
}

/// Why there is no answer.
enum Failed {
    /// The connection was closed, maybe long ago.
    Closed(Error),
    /// Anything else.
    Away(Error),
}

impl Failed {
    fn told(self) -> Error {
        match self {
            Self::Closed(why) | Self::Away(why) => why,
        }
    }
}

/// As the port's error. That a server is full, loading or read-only is its being away.
fn away(error: &RedisError) -> Error {
    let text = format!("Redis: {error}");
    match error.kind() {
        ErrorKind::AuthenticationFailed => Error::retry("cache_refused", text),
        _ => Error::retry("cache_away", text),
    }
}
