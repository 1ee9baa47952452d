//! The [`Cache`] on Redis.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use redis::{Cmd, FromRedisValue, Value};
use wingbeat_connect::{TlsFiles, warn_if_exposed};
use wingbeat_core::cache::{Allotments, Durability};
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{Cache, Error, Result};

use crate::address::Address;
use crate::connection::{NO_SCRIPT, SharedConnection, WRONG_TYPE, is_answer};
use crate::cooldown::Cooldown;
use crate::scripts::{self, Call};
use crate::server::{Server, hello};

/// The number of keys that one `SCAN` visits.
const SCAN_COUNT: usize = 1000;

/// The address of Redis, and time limits.
#[derive(Clone)]
pub struct Config {
    /// The URL: `rediss://[user:password@]host:port[/database]`, or
    /// `rediss-sentinel://host:port,host:port/database?master=name`. Of several hosts, the first
    /// one that is a master is used.
    pub url: String,
    /// Certificates and key for TLS, as far as the URL names none (`ssl_ca_certs`, `ssl_certfile`,
    /// `ssl_keyfile`).
    pub tls: TlsFiles,
    /// A prefix for every key. `wingbeat:` by default.
    pub namespace: String,
    /// The time limit of [`Redis::connect`], the first reply included. 3 s by default.
    pub connect_timeout: Duration,
    /// The time limit for a reply, and for opening a connection again. 500 ms by default.
    pub timeout: Duration,
}

impl Config {
    /// Creates a configuration with default values for this URL.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            tls: TlsFiles::default(),
            namespace: "wingbeat:".into(),
            connect_timeout: Duration::from_secs(3),
            timeout: Duration::from_millis(500),
        }
    }
}

/// A [`Cache`] on Redis. All callers share one connection.
pub struct Redis {
    connection: SharedConnection,
    timeout: Duration,
    namespace: String,
    cooldown: Cooldown,
    runtime: SharedRuntime,
}

impl Redis {
    /// Checks the URL and the files of TLS without connecting.
    ///
    /// # Errors
    ///
    /// `cache_url_invalid` if a part of the URL is malformed or not supported; `tls_invalid` if a
    /// certificate or a key cannot be used.
    pub fn check(config: &Config) -> Result<()> {
        Address::parse(&config.url, &config.tls).map(drop)
    }

    /// Connects to Redis, and waits for its first reply. Later losses of the connection are
    /// retried.
    ///
    /// # Errors
    ///
    /// `cache_url_invalid` if the URL cannot be used; `tls_invalid` if a certificate or a key
    /// cannot be used; `cache_tls_failed` if TLS fails; `cache_refused` if Redis rejects the user
    /// or the password; `cache_cluster` if it is a node of a cluster; `cache_unavailable` if it is
    /// unavailable or a replica. The message is one line and contains no password.
    pub async fn connect(config: &Config, runtime: SharedRuntime) -> Result<Arc<Self>> {
        let address = Address::parse(&config.url, &config.tls)?;
        let (hosts, protection) = (address.hosts.clone(), address.protection);
        let cache = Self {
            connection: SharedConnection::new(Server::new(address)),
            timeout: config.timeout,
            namespace: config.namespace.clone(),
            cooldown: Cooldown::default(),
            runtime,
        };
        let (ping, limit) = (redis::cmd("PING"), config.connect_timeout);
        cache.send_within::<String>("ping", &ping, limit).await?;
        warn_if_exposed("Redis", &hosts, protection).await;
        Ok(Arc::new(cache))
    }

    /// Returns the key in Redis.
    pub(crate) fn full(&self, key: &str) -> String {
        format!("{}{key}", self.namespace)
    }

    /// Returns the key of the index for the family of `key`; see [`scripts`].
    fn index(&self, key: &str) -> String {
        let family = key.split_once(':').map_or("", |(family, _)| family);
        format!("{}index:{family}", self.namespace)
    }

    /// Returns the arguments of the scripts that set a value.
    fn setting(&self, key: &str, value: &Bytes, ttl: Duration) -> Vec<Vec<u8>> {
        vec![
            value.to_vec(),
            millis(ttl).to_string().into(),
            self.runtime.now().as_millis().to_string().into(),
            key.into(),
        ]
    }

    async fn send<T: FromRedisValue>(&self, operation: &'static str, command: &Cmd) -> Result<T> {
        self.send_within(operation, command, self.timeout).await
    }

    async fn send_within<T: FromRedisValue>(
        &self,
        operation: &'static str,
        command: &Cmd,
        limit: Duration,
    ) -> Result<T> {
        if !self.cooldown.admits() {
            let text = "Redis was unavailable less than a second ago";
            return Err(Error::retry("cache_unavailable", text));
        }
        let reply = self.connection.send(command, limit).await;
        // An error reply to one command is an answer. It says nothing about other commands.
        let available = reply.as_ref().err().is_none_or(is_answer);
        self.cooldown.record(available);
        let outcome = if available { "ok" } else { "error" };
        let labels = [("operation", operation), ("outcome", outcome)];
        metrics::counter!("wingbeat_cache_requests_total", &labels).increment(1);
        metrics::gauge!("wingbeat_cache_up").set(f64::from(u8::from(available)));
        reply
    }

    pub(crate) fn runtime(&self) -> &SharedRuntime {
        &self.runtime
    }

    pub(crate) async fn call<T: FromRedisValue>(
        &self,
        operation: &'static str,
        call: Call,
    ) -> Result<T> {
        match self.send(operation, &call.by_hash()).await {
            Err(why) if why.code() == NO_SCRIPT => self.send(operation, &call.with_text()).await,
            reply => reply,
        }
    }

    /// Removes keys of all families, for a prefix that may match several, by visiting every key.
    async fn remove_by_scan(&self, prefix: &str) -> Result<()> {
        let pattern = format!("{}*", escaped(&self.full(prefix)));
        let mut cursor = 0_u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor)
                .arg("MATCH")
                .arg(&pattern)
                .arg("COUNT")
                .arg(SCAN_COUNT);
            let (next, keys): (u64, Vec<String>) = self.send("remove_prefix", &scan).await?;
            if !keys.is_empty() {
                let unlink = redis::cmd("UNLINK").arg(keys).take();
                self.send::<u64>("remove_prefix", &unlink).await?;
            }
            cursor = next;
            if cursor == 0 {
                return Ok(());
            }
        }
    }
}

/// Escapes the wildcards of a Redis pattern.
fn escaped(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, '*' | '?' | '[' | ']' | '\\' | '^' | '-') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis())
        .unwrap_or(u64::MAX)
        .max(1)
}

impl Cache for Redis {
    /// Fails with `cache_unavailable` if Redis does not reply or is a replica.
    fn ping(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(async {
            let about: Value = self.send("ping", &hello()).await?;
            self.connection.check(&about).await
        })
    }

    fn get(&self, key: &str) -> BoxFuture<'_, Result<Option<Bytes>>> {
        let get = redis::cmd("GET").arg(self.full(key)).take();
        Box::pin(async move {
            match self.send::<Option<Vec<u8>>>("get", &get).await {
                Ok(value) => Ok(value.map(Bytes::from)),
                // Another program wrote the key: the cache has no value there.
                Err(why) if why.code() == WRONG_TYPE => Ok(None),
                Err(why) => Err(why),
            }
        })
    }

    fn put(
        &self,
        key: &str,
        value: Bytes,
        ttl: Duration,
        _: Durability,
    ) -> BoxFuture<'_, Result<()>> {
        let keys = vec![self.full(key), self.index(key)];
        let put = Call::new(scripts::PUT, keys, self.setting(key, &value, ttl));
        Box::pin(self.call("put", put))
    }

    fn replace(
        &self,
        key: &str,
        expected: Option<Bytes>,
        value: Bytes,
        ttl: Duration,
        _: Durability,
    ) -> BoxFuture<'_, Result<bool>> {
        let keys = vec![self.full(key), self.index(key)];
        let mut arguments = self.setting(key, &value, ttl);
        match expected {
            Some(expected) => arguments.extend([b"1".to_vec(), expected.to_vec()]),
            None => arguments.push(b"0".to_vec()),
        }
        let replace = Call::new(scripts::REPLACE, keys, arguments);
        Box::pin(self.call("replace", replace))
    }

    fn remove(&self, key: &str) -> BoxFuture<'_, Result<()>> {
        let keys = vec![self.full(key), self.index(key)];
        let remove = Call::new(scripts::REMOVE, keys, vec![key.into()]);
        Box::pin(async move { self.call::<u64>("remove", remove).await.map(drop) })
    }

    fn remove_prefix(&self, prefix: &str) -> BoxFuture<'_, Result<()>> {
        let prefix = prefix.to_owned();
        Box::pin(async move {
            if !prefix.contains(':') {
                return self.remove_by_scan(&prefix).await;
            }
            let keys = vec![self.index(&prefix)];
            let arguments = vec![prefix.into(), self.namespace.clone().into()];
            let remove = Call::new(scripts::REMOVE_PREFIX, keys, arguments);
            self.call::<u64>("remove_prefix", remove).await.map(drop)
        })
    }

    fn hit(&self, key: &str, window: Duration) -> BoxFuture<'_, Result<u64>> {
        let window = millis(window).to_string().into();
        let hit = Call::new(scripts::HIT, vec![self.full(key)], vec![window]);
        Box::pin(self.call("hit", hit))
    }

    fn allotments(&self) -> Option<&dyn Allotments> {
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn a_prefix_has_no_wildcards() {
        assert_eq!(escaped(r"a*b?[c]\^-"), r"a\*b\?\[c\]\\\^\-");
    }
}
