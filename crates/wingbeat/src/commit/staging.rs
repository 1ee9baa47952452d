//! Units in memory that build on one another, and are committed in batches.
//!
//! A key is free for its next message when its unit is *staged*; acknowledgements, replies, calls
//! and timers wait until it is *durable*. [`Staging`] does no I/O; the committer gives it a store.

use std::collections::VecDeque;

use bytes::Bytes;
use wingbeat_core::unit::Outcome;
use wingbeat_core::{HashMap, HashSet, Key, Name, Unit};

use super::refusals::RefusedWrites;

/// The units in one commit. Larger batches only get slower (measured with PostgreSQL).
const BATCH_MAX: usize = 512;
/// The bytes of unchanged records that one committer caches. The stores' own caches are larger.
const KEPT_BYTES_MAX: usize = 4 << 20;
/// The number of staged units at which intake waits.
pub(super) const STAGED_MAX: usize = 8_192;

/// Called once with the outcome of the unit.
pub(super) type Done = Box<dyn FnOnce(Outcome) + Send>;

/// A record as the next unit reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Loaded {
    /// The version; 0 if the record is absent.
    pub(crate) version: u64,
    /// The content; `None` if the record is absent.
    pub(crate) body: Option<Bytes>,
    /// The number of the latest refusal before the read (see [`Unit::seen`]).
    pub(crate) seen: u64,
}

struct Entry {
    /// The version; 0 if the record is absent. `None` after a blind write onto an unknown version.
    version: Option<u64>,
    body: Option<Bytes>,
    /// The number of staged units that wrote it.
    dirty: u32,
    /// Its number in the cache, and its size when it was cached; `None` if it is not in the cache.
    kept: Option<(u64, usize)>,
    /// Set if it was read since the last check for eviction.
    used: bool,
}

/// A cached record.
struct Kept {
    number: u64,
    service: Name,
    key: Key,
    size: usize,
}

struct StagedUnit {
    unit: Unit,
    done: Done,
}

/// Cached records and staged units.
#[derive(Default)]
pub(super) struct Staging {
    entries: HashMap<Name, HashMap<Key, Entry>>,
    /// Cached records in the order of eviction. A record that was read since the last check is kept
    /// for another round.
    kept: VecDeque<Kept>,
    kept_bytes: usize,
    kept_last: u64,
    pending: VecDeque<StagedUnit>,
    in_flight: Vec<Done>,
    pub(super) refusals: RefusedWrites,
}

/// The reason why memory cannot answer a read.
pub(super) enum Miss {
    /// The record is not cached: read the store.
    Unknown,
    /// A blind write is staged: read the store once it is durable.
    InFlight,
}

impl Staging {
    /// Returns the record as the next unit reads it, if it is in memory.
    pub(super) fn get(&mut self, service: Name, key: &Key) -> Result<Loaded, Miss> {
        let entry = self
            .entries
            .get_mut(&service)
            .and_then(|keys| keys.get_mut(key))
            .ok_or(Miss::Unknown)?;
        entry.used = true;
        let version = entry.version.ok_or(Miss::InFlight)?;
        Ok(Loaded {
            version,
            body: entry.body.clone(),
            seen: self.refusals.now(),
        })
    }

    /// Caches a record that the store returned, unless a newer version is known.
    pub(super) fn learn(&mut self, service: Name, key: &Key, loaded: &Loaded) {
        let keys = self.entries.entry(service).or_default();
        if keys.contains_key(key) {
            return;
        }
        let entry = Entry {
            version: Some(loaded.version),
            body: loaded.body.clone(),
            dirty: 0,
            kept: None,
            used: false,
        };
        keys.insert(key.clone(), entry);
        self.keep(service, key);
    }

    /// Drops a cached version other than the one that the store has just handed out. A replica may
    /// have changed the record: compared with the old version, it would look settled.
    pub(super) fn doubt(&mut self, service: Name, key: &Key, version: u64) {
        if let Some(keys) = self.entries.get_mut(&service)
            && let Some(entry) = keys.get(key)
            && entry.dirty == 0
            && entry.version != Some(version)
        {
            keys.remove(key);
        }
    }

    /// Drops the cached version of a record, unless a write to it is staged.
    pub(super) fn refresh(&mut self, service: Name, key: &Key) {
        let entry = self.entries.get(&service).and_then(|keys| keys.get(key));
        if entry.is_some_and(|entry| entry.dirty == 0) {
            self.forget(service, key);
        }
    }

    /// Stages a unit. Returns `done` if a record that the unit read has changed: the caller runs
    /// the handler again.
    pub(super) fn stage(&mut self, unit: Unit, done: Done) -> Result<(), Done> {
        let keys = self.entries.entry(unit.service).or_default();
        let stale = unit.reads.iter().any(|read| {
            let entry = keys.get(&read.key);
            entry.is_some_and(|entry| entry.version != Some(read.version))
                || self.refusals.since(unit.seen, unit.service, &read.key)
        });
        if stale {
            return Err(done);
        }
        for write in &unit.writes {
            let read = unit
                .reads
                .iter()
                .find(|read| read.key == write.key)
                .map(|read| read.version);
            let entry = keys.entry(write.key.clone()).or_insert(Entry {
                version: read,
                body: None,
                dirty: 0,
                kept: None,
                used: false,
            });
            // An absent record has version 0, and the next write version 1. If the record existed
            // shortly before, only the store knows its next version.
            let is_removed = entry.dirty > 0 && entry.body.is_none();
            entry.version = match &write.body {
                Some(_) if is_removed => None,
                Some(_) => entry.version.map(|version| version + 1),
                None => Some(0),
            };
            entry.body.clone_from(&write.body);
            entry.dirty += 1;
        }
        self.pending.push_back(StagedUnit { unit, done });
        Ok(())
    }

    /// Returns the number of units that are staged and not durable.
    pub(super) fn staged(&self) -> usize {
        self.pending.len() + self.in_flight.len()
    }

    /// Takes the next batch. One batch is in flight at a time.
    pub(super) fn take_batch(&mut self) -> Vec<Unit> {
        debug_assert!(self.in_flight.is_empty(), "only one batch is in flight");
        let count = self.pending.len().min(BATCH_MAX);
        let (units, dones) = self
            .pending
            .drain(..count)
            .map(|staged| (staged.unit, staged.done))
            .unzip();
        self.in_flight = dones;
        units
    }

    /// Records the outcomes of the batch. Returns the callbacks to call outside of any lock.
    pub(super) fn complete(
        &mut self,
        batch: &[Unit],
        outcomes: &[Outcome],
    ) -> Vec<(Done, Outcome)> {
        let mut tainted = HashSet::default();
        for (unit, outcome) in batch.iter().zip(outcomes) {
            match outcome {
                Outcome::Committed => self.settle(unit),
                Outcome::Stale | Outcome::Duplicate | Outcome::Unmet(_) | Outcome::Refused => {
                    taint(unit, &mut tainted);
                }
            }
        }
        let dones = std::mem::take(&mut self.in_flight);
        let mut finished: Vec<_> = dones.into_iter().zip(outcomes.iter().copied()).collect();
        if !tainted.is_empty() {
            finished.extend(
                self.drop_tainted(tainted)
                    .into_iter()
                    .map(|done| (done, Outcome::Stale)),
            );
        }
        finished
    }

    /// Removes the pending units that build on refused ones, and drops all their records from the
    /// cache.
    fn drop_tainted(&mut self, mut tainted: HashSet<(Name, Key)>) -> Vec<Done> {
        let mut dropped = Vec::new();
        let mut kept = VecDeque::with_capacity(self.pending.len());
        for staged in self.pending.drain(..) {
            let service = staged.unit.service;
            let reads = staged.unit.reads.iter().map(|read| &read.key);
            let touched = reads.chain(staged.unit.writes.iter().map(|write| &write.key));
            if touched
                .into_iter()
                .any(|key| tainted.contains(&(service, key.clone())))
            {
                taint(&staged.unit, &mut tainted);
                dropped.push(staged.done);
            } else {
                kept.push_back(staged);
            }
        }
        self.pending = kept;
        self.refusals.add(&tainted);
        for (service, key) in &tainted {
            if let Some(keys) = self.entries.get_mut(service) {
                // A later unit of this batch may have the key marked as dirty. It finds no entry,
                // which does no harm.
                keys.remove(key);
            }
        }
        dropped
    }

    fn settle(&mut self, unit: &Unit) {
        for write in &unit.writes {
            let keys = self.entries.get_mut(&unit.service);
            let Some(entry) = keys.and_then(|keys| keys.get_mut(&write.key)) else {
                continue;
            };
            entry.dirty = entry.dirty.saturating_sub(1);
            if entry.dirty > 0 {
                continue;
            }
            if entry.body.is_none() || entry.version.is_none() || write.due_at.is_some() {
                self.forget(unit.service, &write.key);
            } else {
                self.keep(unit.service, &write.key);
            }
        }
    }

    fn forget(&mut self, service: Name, key: &Key) {
        if let Some(keys) = self.entries.get_mut(&service) {
            keys.remove(key);
        }
    }

    /// Caches a record, and evicts others if the cache is full.
    fn keep(&mut self, service: Name, key: &Key) {
        let keys = self.entries.get_mut(&service);
        let Some(entry) = keys.and_then(|keys| keys.get_mut(key)) else {
            return;
        };
        let size = weight(key, entry);
        if entry.kept.is_none_or(|(_, before)| before < size) {
            self.kept_last += 1;
            entry.kept = Some((self.kept_last, size));
            self.kept_bytes += size;
            self.kept.push_back(Kept {
                number: self.kept_last,
                service,
                key: key.clone(),
                size,
            });
        }
        while self.kept_bytes > KEPT_BYTES_MAX
            && let Some(oldest) = self.kept.pop_front()
        {
            self.make_room(oldest);
        }
    }

    /// Evicts the record, unless it was read since the last check.
    fn make_room(&mut self, oldest: Kept) {
        self.kept_bytes -= oldest.size;
        let keys = self.entries.get_mut(&oldest.service);
        let Some(entry) = keys.and_then(|keys| keys.get_mut(&oldest.key)) else {
            return;
        };
        if entry.kept.is_none_or(|(number, _)| number != oldest.number) {
            return; // The entry is outdated: the record was evicted and cached again, or has grown.
        }
        if entry.dirty > 0 {
            entry.kept = None; // It is cached again once it is durable.
        } else if std::mem::take(&mut entry.used) {
            self.kept_bytes += oldest.size;
            self.kept.push_back(oldest);
        } else {
            self.forget(oldest.service, &oldest.key);
        }
    }
}

fn weight(key: &Key, entry: &Entry) -> usize {
    key.id.len() * 2 + entry.body.as_ref().map_or(0, Bytes::len) + 160
}

fn taint(unit: &Unit, tainted: &mut HashSet<(Name, Key)>) {
    let reads = unit.reads.iter().map(|read| &read.key);
    for key in reads.chain(unit.writes.iter().map(|write| &write.key)) {
        tainted.insert((unit.service, key.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORDERS: Name = Name::new("orders");

    fn remembering(version: u64) -> (Staging, Key) {
        let mut staging = Staging::default();
        let key = Key::new(Name::new("wb.call"), "a");
        let loaded = Loaded {
            version,
            body: Some(Bytes::from_static(b"old")),
            seen: 0,
        };
        staging.learn(ORDERS, &key, &loaded);
        (staging, key)
    }

    fn put(staging: &mut Staging, id: &str, body: usize) {
        let key = Key::new(Name::new("stock"), id);
        let write = wingbeat_core::unit::Write {
            key,
            body: Some(vec![0; body].into()),
            due_at: None,
            expires_at: None,
        };
        let unit = Unit {
            writes: vec![write],
            reads: vec![],
            ..Unit::new(
                uuid::Uuid::nil().into(),
                ORDERS,
                wingbeat_core::Timestamp::default(),
            )
        };
        let read = Unit {
            reads: vec![wingbeat_core::unit::Read {
                key: unit.writes[0].key.clone(),
                version: match staging.get(ORDERS, &unit.writes[0].key) {
                    Ok(loaded) => loaded.version,
                    Err(_) => 0,
                },
            }],
            ..unit
        };
        assert!(staging.stage(read, Box::new(drop)).is_ok());
        let batch = staging.take_batch();
        drop(staging.complete(&batch, &[Outcome::Committed]));
    }

    fn knows(staging: &mut Staging, id: &str) -> bool {
        staging
            .get(ORDERS, &Key::new(Name::new("stock"), id))
            .is_ok()
    }

    /// A record that is written a thousand times takes the room of one. Records that are read
    /// outlive those that are not.
    #[test]
    fn the_cache_evicts_records_that_are_not_read() {
        let mut staging = Staging::default();
        for turn in 0..1_000 {
            put(&mut staging, "hot", 10_000);
            put(&mut staging, &format!("cold-{turn}"), 10_000);
        }
        assert!(knows(&mut staging, "hot"));
        assert!(!knows(&mut staging, "cold-0") && knows(&mut staging, "cold-999"));
        let bytes: usize = staging.entries[&ORDERS]
            .iter()
            .map(|(key, it)| weight(key, it))
            .sum();
        assert!(
            bytes <= KEPT_BYTES_MAX && bytes > KEPT_BYTES_MAX / 2,
            "{bytes}"
        );
        assert!(
            staging.kept.len() <= 500,
            "one entry for each record: {}",
            staging.kept.len()
        );
    }

    /// Only the store knows the version of a record that is put again while its removal is staged.
    #[test]
    fn a_record_that_is_put_again_is_read_from_the_store() {
        let mut staging = Staging::default();
        let key = Key::new(Name::new("stock"), "egg");
        for (body, known) in [(Some("old"), true), (None, true), (Some("new"), false)] {
            let read = staging.get(ORDERS, &key).map_or(0, |loaded| loaded.version);
            let mut unit = Unit::new(
                uuid::Uuid::nil().into(),
                ORDERS,
                wingbeat_core::Timestamp::default(),
            );
            unit.reads.push(wingbeat_core::unit::Read {
                key: key.clone(),
                version: read,
            });
            unit.writes.push(wingbeat_core::unit::Write {
                key: key.clone(),
                body: body.map(|body| Bytes::from_static(body.as_bytes())),
                due_at: None,
                expires_at: None,
            });
            assert!(staging.stage(unit, Box::new(drop)).is_ok());
            assert_eq!(staging.get(ORDERS, &key).is_ok(), known, "{body:?}");
        }
    }

    #[test]
    fn a_record_that_grows_counts_with_its_new_size() {
        let mut staging = Staging::default();
        for id in 0..20 {
            put(&mut staging, &id.to_string(), 1);
        }
        for id in 0..20 {
            put(&mut staging, &id.to_string(), KEPT_BYTES_MAX / 10);
        }
        let known = (0..20)
            .filter(|id| knows(&mut staging, &id.to_string()))
            .count();
        assert!((1..10).contains(&known), "{known}");
    }

    /// A replica has changed the record. Compared with the cached version, it would look settled
    /// forever.
    #[test]
    fn a_record_that_the_store_hands_out_overrides_the_cached_version() {
        let (mut staging, key) = remembering(2);
        staging.doubt(ORDERS, &key, 2);
        assert!(staging.get(ORDERS, &key).is_ok(), "the version is current");
        staging.doubt(ORDERS, &key, 3);
        assert!(matches!(staging.get(ORDERS, &key), Err(Miss::Unknown)));
    }
}
