//! What was written lately, kept in memory for those who read it next.
//!
//! Only the writer puts something in, after its commit, so an entry is never older than the file except
//! between a commit and its entry; whoever reads then is caught by its version.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use wingbeat_core::Record;

use crate::id::RecordKey;

/// What an entry takes beside its body, about.
const ENTRY_BYTES: usize = 200;

/// Records of this size are assumed when the cache is laid out.
const RECORD_BYTES: usize = 500;

#[derive(Clone, Debug)]
struct Bytes;

impl Weighter<RecordKey, Option<Record>> for Bytes {
    fn weight(&self, _: &RecordKey, record: &Option<Record>) -> u64 {
        let body = record.as_ref().map_or(0, |record| record.body.len());
        (body + ENTRY_BYTES) as u64
    }
}

#[derive(Debug)]
pub(crate) struct Recent {
    records: Cache<RecordKey, Option<Record>, Bytes>,
    /// The last place in the journal; places grow, and tell the time to the microsecond when idle.
    place: AtomicI64,
}

impl Recent {
    pub(crate) fn new(bytes: usize) -> Self {
        let records = bytes / (RECORD_BYTES + ENTRY_BYTES);
        Self {
            records: Cache::with_weighter(records, bytes as u64, Bytes),
            place: AtomicI64::new(0),
        }
    }

    /// `Some(None)` is a record known to be absent.
    pub(crate) fn get(&self, key: &RecordKey) -> Option<Option<Record>> {
        self.records.get(key)
    }

    pub(crate) fn put(&self, key: RecordKey, record: Option<Record>) {
        self.records.insert(key, record);
    }

    /// From where the next batch counts its places in the journal.
    pub(crate) fn place(&self) -> i64 {
        self.place.load(Ordering::Relaxed).max(self.now())
    }

    /// Microseconds since the epoch.
    pub(crate) fn now(&self) -> i64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since.map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(0))
    }

    pub(crate) fn placed(&self, place: i64) {
        self.place.store(place, Ordering::Relaxed);
    }
}
