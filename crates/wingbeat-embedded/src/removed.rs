//! The versions of removed records, so that a record that is put again continues them.
//!
//! A unit that read the record before its removal must find another version afterwards, or it would
//! be taken for current. No attempt outlives the process, so memory is enough.

use std::hash::{BuildHasher as _, BuildHasherDefault};
use std::sync::atomic::{AtomicU64, Ordering};

use wingbeat_core::FixedHasher;

use crate::id::RecordKey;

/// The places, 512 KiB in all. Records that share one continue the higher version, which does no
/// harm.
const PLACES: usize = 1 << 16;

/// The highest version of the removed records in each place.
#[derive(Debug)]
pub(crate) struct Removed(Box<[AtomicU64]>);

impl Removed {
    /// Notes the version of a record that is removed; 0 if it is absent.
    pub(crate) fn note(&self, key: &RecordKey, version: u64) {
        self.place(key).fetch_max(version, Ordering::Relaxed);
    }

    /// Returns a version that the record has not exceeded so far.
    pub(crate) fn last(&self, key: &RecordKey) -> u64 {
        self.place(key).load(Ordering::Relaxed)
    }

    fn place(&self, key: &RecordKey) -> &AtomicU64 {
        let hash = BuildHasherDefault::<FixedHasher>::default().hash_one(key);
        &self.0[hash as usize % PLACES]
    }
}

impl Default for Removed {
    fn default() -> Self {
        Self((0..PLACES).map(|_| AtomicU64::new(0)).collect())
    }
}

#[cfg(test)]
mod tests {
    use wingbeat_core::{Key, Name};

    use super::*;

    #[test]
    fn the_highest_version_of_a_key_is_kept() {
        let removed = Removed::default();
        let key = RecordKey::new(1, &Key::new(Name::new("stock"), "egg"));
        assert_eq!(removed.last(&key), 0);
        removed.note(&key, 7);
        removed.note(&key, 3);
        assert_eq!(removed.last(&key), 7);
    }
}
