//! Reads that are kept in the cache for a while, loaded once however many ask at the same time.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use wingbeat_core::cache::Durability;
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{Cache, Result, RuntimeExt as _};

use super::reads::Reads;
use crate::telemetry::meters::CachedMeter;
use crate::unit::{Scope, ServiceContext};
use crate::{decode, encode};

/// Loads that may go on at once; two keys that share a lane wait for each other, no more.
const LANES: usize = 64;

/// A cached read: what it caches, and for how long.
///
/// An entry lives between three quarters of `ttl` and `ttl`, drawn at random, so that entries stored
/// together do not end together. Events that change what was read call [`Self::forget`]; the `ttl`
/// bounds how long a value that was loaded just before such a change may still be shown. With the
/// cache away every read goes to the store.
#[derive(Clone)]
pub struct Cached {
    prefix: &'static str,
    ttl: Duration,
    lanes: Arc<[Mutex<()>; LANES]>,
    meter: CachedMeter,
}

impl Cached {
    /// Values under keys that start with `prefix`.
    #[must_use]
    pub fn new(prefix: &'static str, ttl: Duration) -> Self {
        Self {
            prefix,
            ttl,
            lanes: Arc::new(std::array::from_fn(|_| Mutex::new(()))),
            meter: CachedMeter::new(prefix),
        }
    }

    /// The value under `key`: the cached one, else the one that `load` gives. What is absent is not
    /// cached.
    ///
    /// # Errors
    ///
    /// Those of `load`.
    pub async fn get<T, F>(
        &self,
        from: &(impl CacheOf + ?Sized),
        key: &str,
        load: impl FnOnce() -> F + Send,
    ) -> Result<Option<T>>
    where
        T: Serialize + DeserializeOwned + Send,
        F: Future<Output = Result<Option<T>>> + Send,
    {
        let (cache, runtime) = from.cached();
        let full = format!("{}{key}", self.prefix);
        match find(cache, &full).await {
            Found::Value(value) => {
                self.meter.hit.increment(1);
                return Ok(Some(value));
            }
            Found::Away => {
                self.meter.away.increment(1);
                return load().await;
            }
            Found::Nothing => {}
        }
        let _turn = self.lanes[lane(key)].lock().await;
        if let Found::Value(value) = find(cache, &full).await {
            self.meter.hit.increment(1); // Loaded by somebody else meanwhile.
            return Ok(Some(value));
        }
        self.meter.miss.increment(1);
        let loaded = load().await?;
        if let Some(value) = &loaded {
            let ttl = self.life(runtime);
            let put = cache.put(&full, encode(value), ttl, Durability::Volatile);
            if let Err(why) = put.await {
                tracing::debug!(key = full, "not cached: {why}");
            }
        }
        Ok(loaded)
    }

    /// Forgets the value under `key`.
    pub async fn forget(&self, from: &(impl CacheOf + ?Sized), key: &str) {
        let full = format!("{}{key}", self.prefix);
        if let Err(why) = from.cached().0.remove(&full).await {
            tracing::debug!(key = full, "still cached until it expires: {why}");
        }
    }

    /// Forgets all values.
    pub async fn forget_all(&self, from: &(impl CacheOf + ?Sized)) {
        if let Err(why) = from.cached().0.remove_prefix(self.prefix).await {
            tracing::debug!(prefix = self.prefix, "still cached until it expires: {why}");
        }
    }

    fn life(&self, runtime: &SharedRuntime) -> Duration {
        self.ttl - runtime.jitter(self.ttl / 4)
    }
}

/// A handle that reaches the cache of its service: a handler's [`Scope`] or [`Reads`], or a
/// [`ServiceContext`].
pub trait CacheOf: sealed::Sealed + Sync {
    #[doc(hidden)]
    fn cached(&self) -> (&Arc<dyn Cache>, &SharedRuntime);
}

mod sealed {
    pub trait Sealed {}
    impl<T: Sealed + ?Sized> Sealed for std::sync::Arc<T> {}
    impl Sealed for super::Scope {}
    impl Sealed for super::Reads {}
    impl Sealed for super::ServiceContext {}
}

impl<T: CacheOf + Send + ?Sized> CacheOf for Arc<T> {
    fn cached(&self) -> (&Arc<dyn Cache>, &SharedRuntime) {
        (**self).cached()
    }
}

impl CacheOf for ServiceContext {
    fn cached(&self) -> (&Arc<dyn Cache>, &SharedRuntime) {
        (&self.cache, &self.runtime)
    }
}

impl CacheOf for Scope {
    fn cached(&self) -> (&Arc<dyn Cache>, &SharedRuntime) {
        self.service().cached()
    }
}

impl CacheOf for Reads {
    fn cached(&self) -> (&Arc<dyn Cache>, &SharedRuntime) {
        self.service().cached()
    }
}

enum Found<T> {
    Value(T),
    Nothing,
    Away,
}

async fn find<T: DeserializeOwned>(cache: &Arc<dyn Cache>, key: &str) -> Found<T> {
    match cache.get(key).await {
        Ok(Some(body)) => decode(&body).map_or(Found::Nothing, Found::Value),
        Ok(None) => Found::Nothing,
        Err(_) => Found::Away,
    }
}

/// The lane of a key: any even spread will do (FNV-1a).
fn lane(key: &str) -> usize {
    let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    usize::try_from(hash % LANES as u64).unwrap_or_default()
}
