//! What was handed out as the content of a record, and then never came to be.
//!
//! A staged unit's writes are read before they are durable. If the store refuses the unit, its readers
//! must run again; versions alone do not tell them, for the next unit counts on from the same durable
//! version and gives the same number to other content. So each refusal is numbered, and a unit that
//! first read before a refusal of a record it read is stale.

use std::collections::VecDeque;

use wingbeat_core::{HashMap, Key, Name};

/// Withdrawn records remembered. A unit is open for milliseconds; in that time far fewer are withdrawn.
const REMEMBERED_MAX: usize = 8_192;

/// The withdrawn records, by when.
#[derive(Default)]
pub(crate) struct Withdrawn {
    now: u64,
    /// When each was withdrawn last.
    last: HashMap<Name, HashMap<Key, u64>>,
    order: VecDeque<(u64, Name, Key)>,
    /// What was withdrawn up to then may be forgotten.
    forgotten: u64,
}

impl Withdrawn {
    /// The number of the latest refusal: what a unit that reads now has seen.
    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    /// A unit that read or wrote these was refused.
    pub(crate) fn add<'a>(&mut self, records: impl IntoIterator<Item = &'a (Name, Key)>) {
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

    /// Whether the record may have been withdrawn since `seen`.
    pub(crate) fn since(&self, seen: u64, service: Name, key: &Key) -> bool {
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
    use crate::staging::{Done, Loaded, Staging};

    const SHOP: Name = Name::new("shop");

    fn record(id: &str) -> (Name, Key) {
        (SHOP, Key::new(Name::new("stock"), id))
    }

    #[test]
    fn only_who_read_before_the_refusal_is_told() {
        let mut withdrawn = Withdrawn::default();
        let (tea, cup) = (record("tea"), record("cup"));
        let before = withdrawn.now();
        withdrawn.add([&tea]);
        assert!(withdrawn.since(before, SHOP, &tea.1));
        assert!(!withdrawn.since(before, SHOP, &cup.1));
        assert!(!withdrawn.since(withdrawn.now(), SHOP, &tea.1));
    }

    #[test]
    fn what_is_forgotten_counts_as_withdrawn() {
        let mut withdrawn = Withdrawn::default();
        let before = withdrawn.now();
        for number in 0..=REMEMBERED_MAX {
            withdrawn.add([&record(&number.to_string())]);
        }
        assert!(withdrawn.since(before, SHOP, &record("cup").1));
        assert!(!withdrawn.since(withdrawn.now(), SHOP, &record("cup").1));
        assert_eq!(withdrawn.order.len(), REMEMBERED_MAX);
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
            panic!("it was learned");
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
    fn a_unit_that_read_withdrawn_content_is_stale_where_versions_agree() {
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
