//! A cache of recently written records.
//!
//! Only the writer inserts entries, after its commit. So an entry is never older than the file,
//! except between a commit and the insertion. A unit that read the older version then is stale.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::SystemTime;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use wingbeat_core::Record;

use crate::id::RecordKey;

/// The approximate overhead of an entry in bytes.
const ENTRY_BYTES: usize = 200;

/// The record size that the cache assumes when it allocates its table.
const RECORD_BYTES: usize = 500;

#[derive(Clone, Debug)]
struct ByBytes;

impl Weighter<RecordKey, Option<Record>> for ByBytes {
    fn weight(&self, _: &RecordKey, record: &Option<Record>) -> u64 {
        let body = record.as_ref().map_or(0, |record| record.body.len());
        (body + ENTRY_BYTES) as u64
    }
}

/// The recently written records, and the last place in the journal.
#[derive(Debug)]
pub(crate) struct Recent {
    records: Cache<RecordKey, Option<Record>, ByBytes>,
    place: AtomicI64,
}

impl Recent {
    /// Creates an empty cache for at most this many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        let records = bytes / (RECORD_BYTES + ENTRY_BYTES);
        Self {
            records: Cache::with_weighter(records, bytes as u64, ByBytes),
            place: AtomicI64::new(0),
        }
    }

    /// Returns the cached record. `Some(None)` is a record that is known to be absent.
    pub(crate) fn get(&self, key: &RecordKey) -> Option<Option<Record>> {
        self.records.get(key)
    }

    /// Caches a record, or its absence.
    pub(crate) fn put(&self, key: RecordKey, record: Option<Record>) {
        self.records.insert(key, record);
    }

    /// Returns the place after which the next batch continues the journal. Places only grow; on an
    /// idle store a place is the time in microseconds since the epoch.
    pub(crate) fn journal_place(&self) -> i64 {
        self.place.load(Ordering::Relaxed).max(self.now())
    }

    /// Notes the last place in the journal.
    pub(crate) fn set_journal_place(&self, place: i64) {
        self.place.store(place, Ordering::Relaxed);
    }

    /// Returns the time in microseconds since the epoch.
    pub(crate) fn now(&self) -> i64 {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since.map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(0))
    }
}
