//! A cache on [`Server`], which stands for the server that your adapter talks to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use wingbeat_core::cache::Durability;
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{BoxFuture, Cache, Error, Result, Timestamp};

/// The server. It outlives the processes that connect to it.
#[derive(Default)]
pub struct Server(Mutex<State>);

#[derive(Default)]
pub struct State {
    pub unavailable: bool,
    values: BTreeMap<String, (Bytes, Timestamp)>,
    counters: BTreeMap<String, (u64, Timestamp)>,
}

impl Server {
    pub fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A [`Cache`] on one server.
pub struct TinyCache {
    server: Arc<Server>,
    runtime: SharedRuntime,
}

impl TinyCache {
    /// Connects to the server. `runtime` is the clock for expiry.
    pub fn connect(server: Arc<Server>, runtime: SharedRuntime) -> Self {
        Self { server, runtime }
    }

    /// Sends one request. A real adapter awaits the reply, with a time limit.
    fn request<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut State, Timestamp) -> T + Send,
    ) -> BoxFuture<'_, Result<T>> {
        let now = self.runtime.now();
        let reply = self.server.with(|state| {
            if state.unavailable {
                return Err(Error::retry(
                    "cache_unavailable",
                    "the server is unavailable",
                ));
            }
            Ok(work(state, now))
        });
        Box::pin(std::future::ready(reply))
    }
}

impl Cache for TinyCache {
    fn ping(&self) -> BoxFuture<'_, Result<()>> {
        self.request(|_, _| ())
    }

    fn get(&self, key: &str) -> BoxFuture<'_, Result<Option<Bytes>>> {
        self.request(|state, now| {
            let (value, expires) = state.values.get(key)?;
            (*expires > now).then(|| value.clone())
        })
    }

    fn put(
        &self,
        key: &str,
        value: Bytes,
        ttl: Duration,
        _: Durability, // the server outlives the process, so every value survives its restart
    ) -> BoxFuture<'_, Result<()>> {
        self.request(|state, now| {
            state.values.insert(key.to_owned(), (value, now + ttl));
        })
    }

    fn replace(
        &self,
        key: &str,
        expected: Option<Bytes>,
        value: Bytes,
        ttl: Duration,
        _: Durability,
    ) -> BoxFuture<'_, Result<bool>> {
        self.request(|state, now| {
            let entry = state.values.get(key);
            let current = entry.filter(|(_, expires)| *expires > now);
            let replaces = current.map(|(value, _)| value) == expected.as_ref();
            if replaces {
                state.values.insert(key.to_owned(), (value, now + ttl));
            }
            replaces
        })
    }

    fn remove(&self, key: &str) -> BoxFuture<'_, Result<()>> {
        self.request(|state, _| {
            state.values.remove(key);
        })
    }

    fn remove_prefix(&self, prefix: &str) -> BoxFuture<'_, Result<()>> {
        self.request(|state, _| state.values.retain(|key, _| !key.starts_with(prefix)))
    }

    fn hit(&self, key: &str, window: Duration) -> BoxFuture<'_, Result<u64>> {
        self.request(|state, now| {
            let counter = state.counters.entry(key.to_owned()).or_default();
            if counter.1 <= now {
                *counter = (0, now + window);
            }
            counter.0 += 1;
            counter.0
        })
    }
}
