//! Staged writes that the store refused. Units that read them run again.
//!
//! Later units read a staged unit's writes before they are durable. If the store refuses the unit,
//! its readers must run again. Versions alone do not reveal that: the next unit continues from the
//! same durable version and gives the same number to other content. So each refusal has a number,
//! and a unit whose first read came before the refusal of a record that it read is stale.

use std::collections::VecDeque;

use wingbeat_core::{HashMap, Key, Name};

/// The number of refused records to remember. A unit is open for milliseconds; far fewer records
/// are refused in that time.
const REMEMBERED_MAX: usize = 8_192;

/// The refused records, each with the number of its refusal.
#[derive(Default)]
pub(super) struct RefusedWrites {
    now: u64,
    /// The last refusal of each record.
    last: HashMap<Name, HashMap<Key, u64>>,
    order: VecDeque<(u64, Name, Key)>,
    /// Refusals up to this one may have been dropped.
    forgotten: u64,
}

impl RefusedWrites {
    /// Returns the number of the latest refusal, which a unit that reads now has seen.
    pub(super) fn now(&self) -> u64 {
        self.now
    }

    /// Records the refusal of a unit that read or wrote these records.
    pub(super) fn add<'a>(&mut self, records: impl IntoIterator<Item = &'a (Name, Key)>) {
        self.now += 1;
        for (service, key) in records {
            let keys = self.last.entry(*service).or_default();
            keys.insert(key.clone(), self.now);
            self.order.push_back((self.now, *service, key.clone()));
        }
        while self.order.len() > REMEMBERED_MAX {
            self.forget();
        }
    }

    /// Returns whether the record may have been refused since `seen`.
    pub(super) fn since(&self, seen: u64, service: Name, key: &Key) -> bool {
        if seen >= self.now {
            return false;
        }
        let last = self.last.get(&service).and_then(|keys| keys.get(key));
        seen < self.forgotten || last.is_some_and(|at| *at > seen)
    }

    fn forget(&mut self) {
        let Some((at, service, key)) = self.order.pop_front() else {
            return;
        };
        self.forgotten = at;
        if let Some(keys) = self.last.get_mut(&service)
            && keys.get(&key) == Some(&at)
        {
            keys.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;
    use wingbeat_core::unit::{Outcome, Read, Write};
    use wingbeat_core::{Timestamp, Unit};

    use super::*;
    use crate::commit::staging::{Done, Loaded, Staging};

    const SHOP: Name = Name::new("shop");

    fn record(id: &str) -> (Name, Key) {
        (SHOP, Key::new(Name::new("stock"), id))
    }

    #[test]
    fn only_units_that_read_before_the_refusal_are_stale() {
        let mut refusals = RefusedWrites::default();
        let (tea, cup) = (record("tea"), record("cup"));
        let before = refusals.now();
        refusals.add([&tea]);
        assert!(refusals.since(before, SHOP, &tea.1));
        assert!(!refusals.since(before, SHOP, &cup.1));
        assert!(!refusals.since(refusals.now(), SHOP, &tea.1));
    }

    #[test]
    fn a_dropped_refusal_counts_for_every_record() {
        let mut refusals = RefusedWrites::default();
        let before = refusals.now();
        for number in 0..=REMEMBERED_MAX {
            refusals.add([&record(&number.to_string())]);
        }
        assert!(refusals.since(before, SHOP, &record("cup").1));
        assert!(!refusals.since(refusals.now(), SHOP, &record("cup").1));
        assert_eq!(refusals.order.len(), REMEMBERED_MAX);
    }

    /// Reads "tea", which the store has at version 1, and writes it.
    fn step(staging: &mut Staging, body: &'static str) -> (Loaded, Unit) {
        let (_, key) = record("tea");
        let stored = Loaded {
            version: 1,
            body: None,
            seen: 0,
        };
        staging.learn(SHOP, &key, &stored);
        let Ok(loaded) = staging.get(SHOP, &key) else {
            panic!("the record is cached");
        };
        let read = Read {
            key: key.clone(),
            version: loaded.version,
        };
        let write = Write {
            key,
            body: Some(body.into()),
            due_at: None,
            expires_at: None,
        };
        let unit = Unit {
            reads: vec![read],
            seen: loaded.seen,
            writes: vec![write],
            ..Unit::new(Uuid::nil().into(), SHOP, Timestamp::default())
        };
        (loaded, unit)
    }

    fn done() -> Done {
        Box::new(drop)
    }

    #[test]
    fn a_unit_that_read_a_refused_write_is_stale_even_if_versions_agree() {
        let mut staging = Staging::default();
        let (_, refused) = step(&mut staging, "refused");
        assert!(staging.stage(refused, done()).is_ok());
        let (read, built_on_refused) = step(&mut staging, "built");
        assert_eq!(read.version, 2);
        let batch = staging.take_batch();
        drop(staging.complete(&batch, &[Outcome::Stale]));
        let (_, rival) = step(&mut staging, "rival");
        assert!(staging.stage(rival, done()).is_ok());
        let (now, built_on_rival) = step(&mut staging, "next");
        assert_eq!(now.version, read.version);
        assert!(staging.stage(built_on_refused, done()).is_err());
        assert!(staging.stage(built_on_rival, done()).is_ok());
    }
}
