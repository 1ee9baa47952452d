//! Opens connections: to the first server that is a master.

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, ErrorKind, RedisConnectionInfo, RedisError, ServerErrorKind, Value,
};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;
use wingbeat_connect::{ConnectError, Host, connect, is_tls_error};
use wingbeat_core::{Error, Result};

use crate::address::{Address, Sentinel};

/// The server, or the servers and sentinels among which one is the master.
pub(crate) struct Server {
    address: Address,
    /// The host to try first: the one that was connected last.
    first: AtomicUsize,
}

impl Server {
    pub(crate) fn new(address: Address) -> Self {
        Self {
            address,
            first: AtomicUsize::new(0),
        }
    }

    /// Connects to the first host that is a master, or knows it. `limit` applies to each host. If
    /// there is none, returns the error of the last host, or one that says more than that a host is
    /// unavailable.
    pub(crate) async fn open(&self, limit: Duration) -> Result<MultiplexedConnection> {
        let (hosts, first) = (&self.address.hosts, self.first.load(Ordering::Relaxed));
        let mut failed: Option<Error> = None;
        for turn in 0..hosts.len() {
            let at = (first + turn) % hosts.len();
            match self.open_at(&hosts[at], Instant::now() + limit).await {
                Ok(connection) => {
                    self.first.store(at, Ordering::Relaxed);
                    return Ok(connection);
                }
                Err(why) => {
                    let says_more = |it: &Error| it.code() != "cache_unavailable";
                    if !failed.as_ref().is_some_and(says_more) {
                        failed = Some(why);
                    }
                }
            }
        }
        Err(failed.unwrap_or_else(timed_out))
    }

    async fn open_at(&self, host: &Host, deadline: Instant) -> Result<MultiplexedConnection> {
        let Some(sentinel) = &self.address.sentinel else {
            return self.open_master(host, deadline).await;
        };
        let master = self.ask(host, sentinel, deadline).await?;
        self.open_master(&master, deadline).await
    }

    /// Asks a sentinel for the address of the master.
    async fn ask(&self, host: &Host, sentinel: &Sentinel, deadline: Instant) -> Result<Host> {
        let mut connection = self.login(host, &sentinel.login, deadline).await?;
        let mut ask = redis::cmd("SENTINEL");
        ask.arg("get-master-addr-by-name").arg(&sentinel.master);
        let found = within(deadline, ask.query_async(&mut connection)).await;
        let found: Option<(String, u16)> = found?;
        let Some((name, port)) = found else {
            let text = format!("the sentinel knows no master {:?}", sentinel.master);
            return Err(Error::retry("cache_unavailable", text));
        };
        let port = Some(port);
        Ok(Host { name, port })
    }

    /// Connects to a server and checks that it is a master.
    async fn open_master(&self, host: &Host, deadline: Instant) -> Result<MultiplexedConnection> {
        let mut connection = self.login(host, &self.address.login, deadline).await?;
        let about = within(deadline, hello().query_async(&mut connection)).await;
        check_master(&about?)?;
        Ok(connection)
    }

    async fn login(
        &self,
        host: &Host,
        login: &RedisConnectionInfo,
        deadline: Instant,
    ) -> Result<MultiplexedConnection> {
        let port = self.address.default_port;
        let address = format!("{}:{}", host.name, host.port.unwrap_or(port));
        let at = |code, why: &str| {
            Error::retry(code, format!("cannot connect to Redis at {address}: {why}"))
        };
        let stream = connect(host, port, self.address.tls.as_ref(), deadline).await;
        let stream = stream.map_err(|why| match why {
            ConnectError::Unavailable(why) => at("cache_unavailable", &why.to_string()),
            ConnectError::Tls(why) => at("cache_tls_failed", &format!("TLS fails: {why}")),
        })?;
        // The caller limits the time.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let opening = MultiplexedConnection::new_with_config(login, stream, config);
        let opened = within(deadline, opening).await;
        let (connection, driver) =
            opened.map_err(|why| at(why.code(), why.to_string().trim_start_matches("Redis: ")))?;
        drop(tokio::spawn(driver));
        Ok(connection)
    }
}

async fn within<T>(
    deadline: Instant,
    reply: impl Future<Output = redis::RedisResult<T>>,
) -> Result<T> {
    match tokio::time::timeout_at(deadline, reply).await {
        Ok(reply) => reply.map_err(|why| unavailable(&why)),
        Err(_) => Err(timed_out()),
    }
}

/// The command that asks a server for its mode and role. Every user may send it.
pub(crate) fn hello() -> redis::Cmd {
    redis::cmd("HELLO")
}

/// Checks the reply to [`hello`].
///
/// # Errors
///
/// `cache_cluster` for a node of a cluster; `cache_unavailable` for a replica or a sentinel.
pub(crate) fn check_master(about: &Value) -> Result<()> {
    let text = |name: &str| {
        let pairs: Vec<(&Value, &Value)> = match about {
            Value::Map(pairs) => pairs.iter().map(|(name, value)| (name, value)).collect(),
            Value::Array(flat) => flat.chunks_exact(2).map(|it| (&it[0], &it[1])).collect(),
            _ => Vec::new(),
        };
        let found = pairs.into_iter().find(|(it, _)| as_text(it) == name);
        found.map_or_else(String::new, |(_, value)| as_text(value))
    };
    let refuse = |code, text: &str| Err(Error::retry(code, text));
    match (text("mode").as_str(), text("role").as_str()) {
        ("cluster", _) => refuse(
            "cache_cluster",
            "the cache is a node of a Redis Cluster, which is not supported: use one instance, or \
             Redis Sentinel",
        ),
        ("sentinel", _) => refuse(
            "cache_unavailable",
            "the cache is a sentinel: write redis-sentinel://host?master=name",
        ),
        (_, "slave" | "replica") => refuse(
            "cache_unavailable",
            "Redis is a replica, which is read-only",
        ),
        _ => Ok(()),
    }
}

fn as_text(value: &Value) -> String {
    match value {
        Value::BulkString(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Value::SimpleString(text) => text.clone(),
        _ => String::new(),
    }
}

/// Returns the error for a reply that did not arrive in time.
pub(crate) fn timed_out() -> Error {
    Error::retry("cache_unavailable", "Redis did not reply in time")
}

/// Returns whether the server is not, or not any more, the one that accepts writes.
pub(crate) fn is_demoted(error: &RedisError) -> bool {
    let kind = error.kind();
    // Before version 7, a script's error has the code ERR, and the text contains the cause.
    matches!(
        kind,
        ErrorKind::Server(ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown)
    ) || error.detail().is_some_and(|it| it.contains("-READONLY "))
}

/// Converts an error of the client. A server that is full, loading or read-only counts as
/// unavailable.
pub(crate) fn unavailable(error: &RedisError) -> Error {
    let text = format!("Redis: {error}");
    let source = std::error::Error::source(error);
    let io = source.and_then(|source| source.downcast_ref::<std::io::Error>());
    match error.kind() {
        ErrorKind::AuthenticationFailed => Error::retry("cache_refused", text),
        _ if io.is_some_and(is_tls_error) => Error::retry("cache_tls_failed", text),
        _ => Error::retry("cache_unavailable", text),
    }
}
