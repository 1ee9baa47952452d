//! Leases on due records. They are kept in memory only: no other process can hold one.

use std::sync::{Mutex, MutexGuard, PoisonError};

use wingbeat_core::{HashMap, Timestamp};

use crate::id::RecordKey;

/// The leased version of each record, and when its lease ends.
#[derive(Debug, Default)]
pub(crate) struct Leases(Mutex<HashMap<RecordKey, (u64, Timestamp)>>);

impl Leases {
    /// Returns the number of leases, including those that have expired.
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Returns whether this version of the record can be leased.
    pub(crate) fn is_free(&self, key: &RecordKey, version: u64, now: Timestamp) -> bool {
        is_free(&self.lock(), key, version, now)
    }

    /// Leases this version of the record, unless it is leased already. Returns whether it did.
    pub(crate) fn acquire(
        &self,
        key: &RecordKey,
        version: u64,
        now: Timestamp,
        until: Timestamp,
    ) -> bool {
        let mut leases = self.lock();
        let free = is_free(&leases, key, version, now);
        if free {
            leases.insert(key.clone(), (version, until));
        }
        free
    }

    /// Removes the lease of a record that was written or removed.
    pub(crate) fn release(&self, key: &RecordKey) {
        let mut leases = self.lock();
        if !leases.is_empty() {
            leases.remove(key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<RecordKey, (u64, Timestamp)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_free(
    leases: &HashMap<RecordKey, (u64, Timestamp)>,
    key: &RecordKey,
    version: u64,
    now: Timestamp,
) -> bool {
    leases
        .get(key)
        .is_none_or(|(leased, end)| *leased != version || *end <= now)
}
