//! How to reach a database and how much to ask of it.

use std::time::Duration;

/// Where the data is and how it is reached.
#[derive(Clone)]
pub struct Config {
    /// `postgres://user:password@host:port/database`.
    pub url: String,
    /// Put before the name of each service to name its schema; empty in production.
    pub schema_prefix: String,
    /// Most connections, at least two. Commits of one service go one after the other, so few are needed. Half of them
    /// may have a [`Transaction`](crate::Transaction) open.
    pub connections_max: usize,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest time for one statement, a commit too. What takes longer is asked again on a new connection.
    pub statement_timeout: Duration,
    /// Longest wait of a statement of your own (`Scope::sql`, [`Transaction`](crate::Transaction)) for a lock: while
    /// it waits, no other unit of the service is committed.
    pub lock_timeout: Duration,
}

impl Config {
    /// The defaults for this URL.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            schema_prefix: String::new(),
            connections_max: 8,
            connect_timeout: Duration::from_secs(3),
            statement_timeout: Duration::from_secs(10),
            lock_timeout: Duration::from_secs(1),
        }
    }
}
