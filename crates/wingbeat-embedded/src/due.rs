//! Who holds which due record, and until when. Gone with the process: then nobody holds any.

use std::sync::{Mutex, PoisonError};

use wingbeat_core::{HashMap, Timestamp};

use crate::id::RecordKey;

#[derive(Debug, Default)]
pub(crate) struct Leases(Mutex<HashMap<RecordKey, (u64, Timestamp)>>);

impl Leases {
    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    /// Whether nobody holds this version.
    pub(crate) fn free(&self, key: &RecordKey, version: u64, now: Timestamp) -> bool {
        let leases = self.lock();
        let lease = leases.get(key);
        lease.is_none_or(|(held, end)| *held != version || *end <= now)
    }

    /// Takes the lease if nobody holds this version.
    pub(crate) fn take(
        &self,
        key: &RecordKey,
        version: u64,
        now: Timestamp,
        until: Timestamp,
    ) -> bool {
        let mut leases = self.lock();
        let free = leases
            .get(key)
            .is_none_or(|(held, end)| *held != version || *end <= now);
        if free {
            leases.insert(key.clone(), (version, until));
        }
        free
    }

    /// The record was written or removed.
    pub(crate) fn ended(&self, key: &RecordKey) {
        let mut leases = self.lock();
        if !leases.is_empty() {
            leases.remove(key);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<RecordKey, (u64, Timestamp)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
