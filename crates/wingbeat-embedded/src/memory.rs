//! The cache's values in memory: bounded, each with its own expiry, and indexed by prefix.

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, OptionsBuilder, Weighter};
use wingbeat_core::Timestamp;

/// Maximum size of the values in memory, in bytes.
const BYTES_MAX: usize = 32 << 20;
/// Number of shards. They share [`BYTES_MAX`] equally, so a value larger than a share is not kept.
const SHARDS: usize = 8;
/// Approximate overhead of an entry in bytes.
const ENTRY_BYTES: usize = 150;
/// Size of a key with its value that the cache assumes when it allocates its table.
const VALUE_BYTES: usize = 350;
/// Minimum number of keys for a sweep of expired entries. A sweep begins when the index has doubled
/// since the last one.
const SWEEP_MIN: usize = 4096;

#[derive(Clone)]
struct Entry {
    value: Bytes,
    until: Timestamp,
}

#[derive(Clone)]
struct Size;

impl Weighter<Arc<str>, Entry> for Size {
    fn weight(&self, key: &Arc<str>, entry: &Entry) -> u64 {
        (key.len() + entry.value.len() + ENTRY_BYTES) as u64
    }
}

/// Collects the keys of evicted entries, so that the index can drop them.
#[derive(Clone)]
struct Evicted;

impl Lifecycle<Arc<str>, Entry> for Evicted {
    type RequestState = Vec<Arc<str>>;

    fn on_evict(&self, evicted: &mut Vec<Arc<str>>, key: Arc<str>, _: Entry) {
        evicted.push(key);
    }
}

#[derive(Default)]
struct Index {
    keys: BTreeSet<Arc<str>>,
    sweep_at: usize,
}

/// The values in memory.
pub(crate) struct Memory {
    values: Cache<Arc<str>, Entry, Size, DefaultHashBuilder, Evicted>,
    /// The keys of `values`, in order. Locked around every change of `values`, so that the two
    /// agree.
    index: Mutex<Index>,
}

impl Memory {
    /// Creates an empty map.
    pub(crate) fn new() -> Self {
        let options = OptionsBuilder::new()
            .shards(SHARDS)
            .estimated_items_capacity(BYTES_MAX / (VALUE_BYTES + ENTRY_BYTES))
            .weight_capacity(BYTES_MAX as u64)
            .build()
            .expect("both capacities are set");
        Self {
            values: Cache::with_options(options, Size, DefaultHashBuilder::default(), Evicted),
            index: Mutex::default(),
        }
    }

    /// Returns the value of a key; `Some(None)` if it has expired.
    pub(crate) fn get(&self, key: &str, now: Timestamp) -> Option<Option<Bytes>> {
        let entry = self.values.get(key)?;
        Some((entry.until > now).then_some(entry.value))
    }

    /// Sets a value that expires at `until`.
    pub(crate) fn put(&self, key: &str, value: Bytes, until: Timestamp, now: Timestamp) {
        self.put_locked(&mut lock(&self.index), key, Entry { value, until }, now);
    }

    /// Sets a value if the key has the value `expected`. Returns whether it did.
    pub(crate) fn replace(
        &self,
        key: &str,
        expected: Option<&Bytes>,
        value: Bytes,
        until: Timestamp,
        now: Timestamp,
    ) -> bool {
        let mut index = lock(&self.index);
        let current = self.get(key, now).flatten();
        if current.as_ref() != expected {
            return false;
        }
        self.put_locked(&mut index, key, Entry { value, until }, now);
        true
    }

    fn put_locked(&self, index: &mut Index, key: &str, entry: Entry, now: Timestamp) {
        let key: Arc<str> = key.into();
        if index.keys.len() >= index.sweep_at.max(SWEEP_MIN) {
            let expired = |key: &Arc<str>| self.values.remove_if(key, |entry| entry.until <= now);
            index.keys.retain(|key| expired(key).is_none());
            index.sweep_at = 2 * index.keys.len();
        }
        index.keys.insert(Arc::clone(&key));
        let mut evicted = Vec::new();
        self.values.insert_with_lifecycle(key, entry, &mut evicted);
        for key in &evicted {
            index.keys.remove(key);
        }
    }

    /// Removes a value.
    pub(crate) fn remove(&self, key: &str) {
        let mut index = lock(&self.index);
        self.values.remove(key);
        index.keys.remove(key);
    }

    /// Removes all values whose keys begin with `prefix`.
    pub(crate) fn remove_prefix(&self, prefix: &str) {
        let mut index = lock(&self.index);
        for key in with_prefix(&index.keys, prefix) {
            self.values.remove(&*key);
            index.keys.remove(&key);
        }
    }
}

/// Locks a mutex, even if a thread panicked with the lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the keys that begin with `prefix`.
pub(crate) fn with_prefix<K>(keys: &BTreeSet<K>, prefix: &str) -> Vec<K>
where
    K: Borrow<str> + Clone + Ord,
{
    keys.range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
        .take_while(|key| Borrow::<str>::borrow(*key).starts_with(prefix))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: Timestamp = Timestamp::from_micros(i64::MAX);

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    fn keys(memory: &Memory) -> usize {
        let keys = lock(&memory.index).keys.len();
        assert_eq!(
            keys,
            memory.values.len(),
            "the index has the keys of the values"
        );
        keys
    }

    #[test]
    fn a_sweep_removes_expired_entries() {
        let memory = Memory::new();
        for n in 0..10 * SWEEP_MIN {
            let now = at(n as i64);
            memory.put(
                &format!("key/{n}"),
                Bytes::new(),
                now + std::time::Duration::from_micros(10),
                now,
            );
            assert!(keys(&memory) <= SWEEP_MIN);
        }
    }

    #[test]
    fn eviction_removes_keys_from_the_index() {
        let memory = Memory::new();
        let value = Bytes::from(vec![0; 64 << 10]);
        for n in 0..1000 {
            memory.put(&format!("key/{n}"), value.clone(), NEVER, at(0));
        }
        let kept = keys(&memory);
        assert!(
            (256..=512).contains(&kept),
            "{kept} values of 64 KiB in 32 MiB"
        );
        memory.remove_prefix("key/");
        assert_eq!(keys(&memory), 0);
    }

    #[test]
    fn a_value_that_is_too_large_removes_the_old_value() {
        let memory = Memory::new();
        memory.put("key", Bytes::from_static(b"before"), NEVER, at(0));
        memory.put("key", Bytes::from(vec![0; BYTES_MAX]), NEVER, at(0));
        assert_eq!(memory.get("key", at(0)), None);
        assert_eq!(keys(&memory), 0);
    }
}
