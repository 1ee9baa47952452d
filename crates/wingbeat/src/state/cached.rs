//! Cached reads: concurrent readers of one key load it once.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
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

/// Locks that serialize loads of the same key. Two keys that share a lock wait for each other,
/// which is harmless.
const LOCKS: usize = 64;
/// The beginning of the mark that a load leaves in the cache. It is not JSON, so it is no value.
const LOADING: &str = "loading ";
/// The longest load whose value is cached.
const LOADING_MAX: Duration = Duration::from_secs(30);

/// A cached read of values that are expensive to load.
///
/// Concurrent readers of one key cause one load. While the cache is unavailable, every read loads.
///
/// An entry expires after a random time between three quarters of `ttl` and `ttl`, so that entries
/// stored together do not expire together. Handlers of events that change a value call
/// [`invalidate`](Self::invalidate). A load during which the key is invalidated returns its value
/// and caches nothing. A load between the invalidation and the commit of the change caches the old
/// value; `ttl` bounds how long it is returned.
///
/// ```
/// use std::time::Duration;
///
/// use wingbeat::{Cached, Reads, Result, View};
/// # use serde::{Deserialize, Serialize};
/// # use wingbeat::{Event, JsonSchema, Rows, Service};
/// # #[derive(Event, Serialize, Deserialize, JsonSchema)]
/// # #[event(name = "catalog.price_changed", version = 1, key = sku)]
/// # struct PriceChanged { sku: String, cents: u64 }
/// # #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// # struct Price { cents: u64 }
/// # impl View for Price { const NAME: &'static str = "prices"; }
///
/// async fn price(cached: &Cached, reads: &Reads, sku: &str) -> Result<Option<Price>> {
///     cached.get(reads, sku, || reads.row::<Price>(sku)).await
/// }
///
/// let prices = Cached::new("price:", Duration::from_secs(60));
/// # async fn show(event: PriceChanged, prices: Rows<Price>) -> Result<()> {
/// #     prices.put(event.sku, &Price { cents: event.cents })
/// # }
/// # #[cfg(feature = "test")]
/// # {
/// # use wingbeat::{App, test::TestApp};
/// # let app = TestApp::start(1, App::new().service(Service::new("storefront").on(show)));
/// # let reads = app.reads("storefront");
/// # let change = |cents| {
/// #     app.publish(uuid::Uuid::nil(), &PriceChanged { sku: "tea".into(), cents });
/// #     app.until_idle();
/// # };
/// # let cents = || app.run(price(&prices, &reads, "tea")).unwrap().map(|price| price.cents);
/// # assert_eq!(cents(), None);
/// # change(450);
/// # assert_eq!(cents(), Some(450), "absent values are not cached");
/// # change(500);
/// # assert_eq!(cents(), Some(450), "it is cached");
/// # app.run(prices.invalidate(&reads, "tea"));
/// # assert_eq!(cents(), Some(500));
/// # }
/// ```
#[derive(Clone)]
pub struct Cached {
    prefix: &'static str,
    ttl: Duration,
    locks: Arc<[Mutex<()>; LOCKS]>,
    meter: CachedMeter,
}

impl Cached {
    /// Creates a cached read whose keys in the cache start with `prefix`. Each cached read needs a
    /// prefix of its own: all services share the cache.
    #[must_use]
    pub fn new(prefix: &'static str, ttl: Duration) -> Self {
        Self {
            prefix,
            ttl,
            locks: Arc::new(std::array::from_fn(|_| Mutex::new(()))),
            meter: CachedMeter::new(prefix),
        }
    }

    /// Returns the cached value of `key`, or loads it and caches it. `None` is not cached.
    ///
    /// # Errors
    ///
    /// The error of `load`. Errors of the cache are logged at level `debug` and count as misses.
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
        match look_up(cache, &full).await {
            Lookup::Hit(value) => {
                self.meter.hit.increment(1);
                return Ok(Some(value));
            }
            Lookup::Unavailable => {
                self.meter.unavailable.increment(1);
                return load().await;
            }
            Lookup::Miss(_) => {}
        }
        let _loading = self.locks[lock_of(key)].lock().await;
        let found = match look_up(cache, &full).await {
            Lookup::Hit(value) => {
                self.meter.hit.increment(1); // Another reader loaded it meanwhile.
                return Ok(Some(value));
            }
            Lookup::Miss(found) => found,
            Lookup::Unavailable => None,
        };
        self.meter.miss.increment(1);
        // The value takes the place of this mark only. An invalidation removes the mark.
        let mark = Bytes::from(format!("{LOADING}{:016x}", runtime.random()));
        let store = async |found: Option<Bytes>, value: Bytes, ttl| {
            let stored = cache.replace(&full, found, value, ttl, Durability::Volatile);
            stored.await.unwrap_or_else(|why| {
                let code = why.code();
                tracing::debug!(key = full, code, "cannot store a cached value: {why}");
                false
            })
        };
        let is_marked = store(found, mark.clone(), LOADING_MAX).await;
        let loaded = load().await?;
        if let (Some(value), true) = (&loaded, is_marked) {
            store(Some(mark), encode(value), self.jittered_ttl(runtime)).await;
        }
        Ok(loaded)
    }

    /// Removes the cached value of `key`. If the cache is unavailable, the value remains until it
    /// expires.
    pub async fn invalidate(&self, from: &(impl CacheOf + ?Sized), key: &str) {
        let full = format!("{}{key}", self.prefix);
        if let Err(why) = from.cached().0.remove(&full).await {
            tracing::debug!(
                key = full,
                code = why.code(),
                "cannot remove a cached value before it expires: {why}"
            );
        }
    }

    /// Removes all cached values of this prefix. If the cache is unavailable, they remain until
    /// they expire.
    pub async fn invalidate_all(&self, from: &(impl CacheOf + ?Sized)) {
        if let Err(why) = from.cached().0.remove_prefix(self.prefix).await {
            tracing::debug!(
                prefix = self.prefix,
                code = why.code(),
                "cannot remove cached values before they expire: {why}"
            );
        }
    }

    fn jittered_ttl(&self, runtime: &SharedRuntime) -> Duration {
        self.ttl - runtime.jitter(self.ttl / 4)
    }
}

/// A handle to the cache of a service: a [`Scope`], a [`Reads`] or a [`ServiceContext`].
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

enum Lookup<T> {
    Hit(T),
    /// There is no value, but perhaps the mark of another load, or a value of an older release.
    Miss(Option<Bytes>),
    Unavailable,
}

async fn look_up<T: DeserializeOwned>(cache: &Arc<dyn Cache>, key: &str) -> Lookup<T> {
    match cache.get(key).await {
        // An older release may have cached a different format.
        Ok(Some(body)) => match decode(&body) {
            Ok(value) => Lookup::Hit(value),
            Err(_) => Lookup::Miss(Some(body)),
        },
        Ok(None) => Lookup::Miss(None),
        Err(_) => Lookup::Unavailable,
    }
}

/// The index of the lock of a key, by an FNV-1a hash.
fn lock_of(key: &str) -> usize {
    let hash = key.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    usize::try_from(hash % LOCKS as u64).unwrap_or_default()
}
