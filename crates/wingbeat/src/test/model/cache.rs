//! The model's cache.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use wingbeat_core::cache::{
    AllotmentBook, Allotments, Claim, Count, Decision, Durability, Log, Mark, Terms,
};
use wingbeat_core::{Cache, Error, Result, RuntimeExt as _, Timestamp};

use super::{CACHE, Injector, lock};

struct Entry {
    value: Bytes,
    end: Timestamp,
    keep: Durability,
}

#[derive(Default)]
struct Entries {
    values: BTreeMap<String, Entry>,
    /// The number of hits in the current window, and the end of the window.
    hits: BTreeMap<String, (u64, Timestamp)>,
    allotments: AllotmentBook,
}

/// A cache in memory.
pub struct ModelCache {
    injector: Injector,
    entries: Mutex<Entries>,
}

impl ModelCache {
    pub(crate) fn new(injector: Injector) -> Self {
        Self {
            injector,
            entries: Mutex::default(),
        }
    }

    /// Removes all entries, as `FLUSHALL` does.
    pub fn lose(&self) {
        *lock(&self.entries) = Entries::default();
    }

    /// Simulates a restart: removes all counters, and the values that do not survive one.
    pub fn restart(&self) {
        let mut entries = lock(&self.entries);
        entries.hits.clear();
        entries.allotments.clear();
        let kept = |entry: &mut Entry| entry.keep == Durability::Restart;
        entries.values.retain(|_, entry| kept(entry));
    }

    fn with<'a, T: Send + 'a>(
        &'a self,
        work: impl FnOnce(&mut Entries, Timestamp) -> T + Send + 'a,
    ) -> BoxFuture<'a, Result<T>> {
        Box::pin(async move {
            self.injector.record_use(CACHE);
            self.injector.delay().await;
            if self.injector.outages().cache {
                self.injector.count("cache_outage");
                return Err(Error::retry(
                    "cache_unavailable",
                    "the cache does not answer",
                ));
            }
            let now = self.injector.runtime().now();
            Ok(work(&mut lock(&self.entries), now))
        })
    }
}

impl Cache for ModelCache {
    fn ping(&self) -> BoxFuture<'_, Result<()>> {
        self.with(|_, _| ())
    }

    fn get(&self, key: &str) -> BoxFuture<'_, Result<Option<Bytes>>> {
        let key = key.to_owned();
        self.with(move |entries, now| {
            let entry = entries.values.get(&key).filter(|entry| entry.end > now);
            entry.map(|entry| entry.value.clone())
        })
    }

    fn put(
        &self,
        key: &str,
        value: Bytes,
        ttl: Duration,
        keep: Durability,
    ) -> BoxFuture<'_, Result<()>> {
        let key = key.to_owned();
        self.with(move |entries, now| {
            let end = now + ttl;
            entries.values.insert(key, Entry { value, end, keep });
        })
    }

    fn replace(
        &self,
        key: &str,
        expected: Option<Bytes>,
        value: Bytes,
        ttl: Duration,
        keep: Durability,
    ) -> BoxFuture<'_, Result<bool>> {
        let key = key.to_owned();
        self.with(move |entries, now| {
            let current = entries.values.get(&key).filter(|entry| entry.end > now);
            let replaces = current.map(|entry| &entry.value) == expected.as_ref();
            if replaces {
                let end = now + ttl;
                entries.values.insert(key, Entry { value, end, keep });
            }
            replaces
        })
    }

    fn remove(&self, key: &str) -> BoxFuture<'_, Result<()>> {
        let key = key.to_owned();
        self.with(move |entries, _| {
            entries.values.remove(&key);
            entries.hits.remove(&key);
        })
    }

    fn remove_prefix(&self, prefix: &str) -> BoxFuture<'_, Result<()>> {
        let prefix = prefix.to_owned();
        self.with(move |entries, _| {
            entries.values.retain(|key, _| !key.starts_with(&prefix));
            entries.hits.retain(|key, _| !key.starts_with(&prefix));
        })
    }

    fn hit(&self, key: &str, window: Duration) -> BoxFuture<'_, Result<u64>> {
        let key = key.to_owned();
        self.with(move |entries, now| {
            let (hits, end) = entries.hits.entry(key).or_insert((0, now + window));
            if *end <= now {
                (*hits, *end) = (0, now + window);
            }
            *hits += 1;
            *hits
        })
    }

    fn allotments(&self) -> Option<&dyn Allotments> {
        Some(self)
    }
}

impl Allotments for ModelCache {
    fn allot(
        &self,
        key: &str,
        terms: Terms,
        count: Count,
        ttl: Duration,
    ) -> BoxFuture<'_, Result<()>> {
        let (key, generation) = (key.to_owned(), self.injector.runtime().id().to_string());
        self.with(move |entries, now| {
            let book = &mut entries.allotments;
            book.allot(&key, generation, terms, count, ttl, now);
        })
    }

    fn claim(&self, key: &str, claim: Claim) -> BoxFuture<'_, Result<Decision>> {
        let key = key.to_owned();
        self.with(move |entries, now| entries.allotments.claim(&key, claim, now))
    }

    fn claims(&self, key: &str, limit: usize) -> BoxFuture<'_, Result<Option<Log>>> {
        let key = key.to_owned();
        self.with(move |entries, now| entries.allotments.claims(&key, limit, now))
    }

    fn settle(&self, key: &str, mark: Mark, count: Count) -> BoxFuture<'_, Result<bool>> {
        let key = key.to_owned();
        self.with(move |entries, now| entries.allotments.settle(&key, &mark, count, now))
    }

    fn end(&self, key: &str) -> BoxFuture<'_, Result<()>> {
        let key = key.to_owned();
        self.with(move |entries, _| entries.allotments.end(&key))
    }
}
