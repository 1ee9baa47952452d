//! The cache in memory.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use wingbeat_core::cache::Durability;
use wingbeat_core::{Cache, Result, Timestamp};

use super::Weather;

/// Values with their ends.
pub struct ModelCache {
    weather: Weather,
    entries: Mutex<BTreeMap<String, (Bytes, Timestamp)>>,
}

impl ModelCache {
    pub(crate) fn new(weather: Weather) -> Self {
        Self {
            weather,
            entries: Mutex::default(),
        }
    }

    fn with<T>(
        &self,
        work: impl FnOnce(&mut BTreeMap<String, (Bytes, Timestamp)>, Timestamp) -> T,
    ) -> T {
        let now = self.weather.runtime().now();
        work(
            &mut self.entries.lock().unwrap_or_else(PoisonError::into_inner),
            now,
        )
    }
}

impl Cache for ModelCache {
    fn get(&self, key: &str) -> BoxFuture<'_, Result<Option<Bytes>>> {
        let found = self.with(|entries, now| {
            entries
                .get(key)
                .filter(|(_, end)| *end > now)
                .map(|(value, _)| value.clone())
        });
        Box::pin(async move { Ok(found) })
    }

    fn put(
        &self,
        key: &str,
        value: Bytes,
        ttl: Duration,
        _keep: Durability,
    ) -> BoxFuture<'_, Result<()>> {
        self.with(|entries, now| entries.insert(key.to_owned(), (value, now + ttl)));
        Box::pin(async { Ok(()) })
    }

    fn remove(&self, key: &str) -> BoxFuture<'_, Result<()>> {
        self.with(|entries, _| entries.remove(key));
        Box::pin(async { Ok(()) })
    }

    fn remove_prefix(&self, prefix: &str) -> BoxFuture<'_, Result<()>> {
        self.with(|entries, _| entries.retain(|key, _| !key.starts_with(prefix)));
        Box::pin(async { Ok(()) })
    }

    fn hit(&self, key: &str, window: Duration) -> BoxFuture<'_, Result<u64>> {
        let count = self.with(|entries, now| {
            let entry = entries.get(key).filter(|(_, end)| *end > now).cloned();
            let (value, end) = entry.unwrap_or((Bytes::from_static(&[0; 8]), now + window));
            let before = value.as_ref().try_into().map_or(0, u64::from_le_bytes);
            entries.insert(
                key.to_owned(),
                (Bytes::copy_from_slice(&(before + 1).to_le_bytes()), end),
            );
            before + 1
        });
        Box::pin(async move { Ok(count) })
    }
}
