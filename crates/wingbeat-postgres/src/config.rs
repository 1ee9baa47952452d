//! Settings of the store.

use std::time::Duration;

use wingbeat_connect::TlsFiles;

/// Settings of the store: the database's URL, its connections and timeouts.
///
/// ```
/// use wingbeat_postgres::Config;
///
/// let mut config = Config::new("postgres://shop:secret@db.internal:5432/shop");
/// config.connections_max = 16;
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Config {
    /// URL of the database: `postgres://user:password@host:port/database?sslmode=verify-full`.
    /// Several hosts are separated by commas; the first one that accepts writes is used.
    pub url: String,
    /// Certificates and key for TLS, as far as the URL names none (`sslrootcert`, `sslcert`,
    /// `sslkey`).
    pub tls: TlsFiles,
    /// Prefix of the schema names; the rest is the service's name. Tests use it to separate schemas
    /// in one database.
    pub schema_prefix: String,
    /// Maximum number of connections, at least two. The store commits the units of one service one
    /// batch after another, so few connections suffice. Up to half of them may have a
    /// [`Transaction`](crate::Transaction) open.
    pub connections_max: usize,
    /// Timeout for getting a connection, for each host.
    pub connect_timeout: Duration,
    /// Timeout for one statement, including a commit. After a timeout, the store retries on a new
    /// connection.
    pub statement_timeout: Duration,
    /// Lock timeout of your statements (`Scope::sql`, [`Transaction`](crate::Transaction)). The
    /// service commits no other units while a statement of `Scope::sql` waits.
    pub lock_timeout: Duration,
}

impl Config {
    /// Creates the default settings for a URL.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            tls: TlsFiles::default(),
            schema_prefix: String::new(),
            connections_max: 8,
            connect_timeout: Duration::from_secs(3),
            statement_timeout: Duration::from_secs(10),
            lock_timeout: Duration::from_secs(1),
        }
    }
}
