//! The cache.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use redis::{Client, Cmd, FromRedisValue};
use wingbeat_core::cache::Durability;
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{Cache, Error, Result};

use crate::gate::Gate;
use crate::line::{Line, NO_SCRIPT};
use crate::scripts::{self, Call};

/// Keys that one step of a scan looks at.
const SCANNED: usize = 1000;

/// Where Redis is and how long it may take.
#[derive(Clone)]
pub struct Config {
    /// `redis://[user:password@]host:port[/database]`.
    pub url: String,
    /// Put before every key.
    pub namespace: String,
    /// Longest wait for a connection and a first answer at the start.
    pub connect_timeout: Duration,
    /// Longest wait for an answer.
    pub timeout: Duration,
}

impl Config {
    /// The defaults for this URL.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            namespace: "wingbeat:".into(),
            connect_timeout: Duration::from_secs(3),
            timeout: Duration::from_millis(500),
        }
    }
}

/// A [`Cache`] on Redis, over one connection that all callers share.
pub struct Redis {
    line: Line,
    timeout: Duration,
    namespace: String,
    gate: Gate,
    runtime: SharedRuntime,
}

impl Redis {
    /// Connects.
    ///
    /// # Errors
    ///
    /// `cache_url_invalid`, `cache_refused` (user or password) or `cache_away`: one line, no password in it.
    pub async fn connect(config: &Config, runtime: SharedRuntime) -> Result<Arc<Self>> {
        let client = Client::open(config.url.as_str()).map_err(|_| {
            // What the parser says may contain the password.
            let text = "not a URL of Redis (redis://user:password@host:port/database)";
            Error::reject("cache_url_invalid", text)
        })?;
        let cache = Self {
            line: Line::new(client),
            timeout: config.timeout,
            namespace: config.namespace.clone(),
            gate: Gate::default(),
            runtime,
        };
        let (ping, limit) = (redis::cmd("PING"), config.connect_timeout);
        let first = cache.ask_within::<String>("ping", &ping, limit);
        match tokio::time::timeout(limit, first).await {
            Ok(answered) => drop(answered?),
            Err(_) => return Err(Error::retry("cache_away", "Redis does not answer")),
        }
        Ok(Arc::new(cache))
    }

    /// Whether Redis answers now.
    ///
    /// # Errors
    ///
    /// `cache_away`.
    pub async fn ping(&self) -> Result<()> {
        let ping: Result<String> = self.ask("ping", &redis::cmd("PING")).await;
        ping.map(drop)
    }

    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.namespace)
    }

    /// The index of a key's family.
    fn index(&self, key: &str) -> String {
        let family = key.split_once(':').map_or("", |(family, _)| family);
        format!("{}index:{family}", self.namespace)
    }

    async fn ask<T: FromRedisValue>(&self, operation: &'static str, command: &Cmd) -> Result<T> {
        self.ask_within(operation, command, self.timeout).await
    }

    async fn ask_within<T: FromRedisValue>(
        &self,
        operation: &'static str,
        command: &Cmd,
        limit: Duration,
    ) -> Result<T> {
        if !self.gate.may_pass() {
            return Err(Error::retry("cache_away", "Redis was away a moment ago"));
        }
        let answer = self.line.ask(command, limit).await;
        let well = answer
            .as_ref()
            .err()
            .is_none_or(|why| why.code() == NO_SCRIPT);
        self.gate.answered(well);
        let outcome = if well { "ok" } else { "error" };
        let labels = [("operation", operation), ("outcome", outcome)];
        metrics::counter!("wingbeat_cache_requests_total", &labels).increment(1);
        metrics::gauge!("wingbeat_cache_up").set(f64::from(u8::from(well)));
        answer
    }

    async fn call<T: FromRedisValue>(&self, operation: &'static str, call: Call) -> Result<T> {
        match self.ask(operation, &call.by_hash()).await {
            Err(why) if why.code() == NO_SCRIPT => self.ask(operation, &call.whole()).await,
            answer => answer,
        }
    }

    /// Removes keys of any family: the prefix does not say which.
    async fn scan_away(&self, prefix: &str) -> Result<()> {
        let pattern = format!("{}*", escaped(&self.full(prefix)));
        let mut cursor = 0_u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor)
                .arg("MATCH")
                .arg(&pattern)
                .arg("COUNT")
                .arg(SCANNED);
            let (next, keys): (u64, Vec<String>) = self.ask("remove_prefix", &scan).await?;
            if !keys.is_empty() {
                let unlink = redis::cmd("UNLINK").arg(keys).take();
                self.ask::<u64>("remove_prefix", &unlink).await?;
            }
            cursor = next;
            if cursor == 0 {
                return Ok(());
            }
        }
    }
}

/// A text as it stands in a pattern.
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

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis())
        .unwrap_or(u64::MAX)
        .max(1)
}

impl Cache for Redis {
    fn get(&self, key: &str) -> BoxFuture<'_, Result<Option<Bytes>>> {
        let get = redis::cmd("GET").arg(self.full(key)).take();
        Box::pin(async move {
            let value: Option<Vec<u8>> = self.ask("get", &get).await?;
            Ok(value.map(Bytes::from))
        })
    }

    fn put(
        &self,
        key: &str,
        value: Bytes,
        ttl: Duration,
        _: Durability,
    ) -> BoxFuture<'_, Result<()>> {
        let arguments = vec![
            value.to_vec(),
            millis(ttl).to_string().into(),
            self.runtime.now().as_millis().to_string().into(),
            key.into(),
        ];
        let put = Call::new(
            scripts::PUT,
            vec![self.full(key), self.index(key)],
            arguments,
        );
        Box::pin(self.call("put", put))
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
                return self.scan_away(&prefix).await;
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
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn a_prefix_has_no_wildcards() {
        assert_eq!(escaped(r"a*b?[c]\^-"), r"a\*b\?\[c\]\\\^\-");
    }
}
