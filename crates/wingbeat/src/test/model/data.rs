//! The data of the model's store, and the effect of a unit on it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use wingbeat_core::store::{Backlog, DueBacklog, Recorded, Waiting};
use wingbeat_core::unit::{Append, Outcome, RowWrite, Settled, Write};
use wingbeat_core::{
    CorrelationId, Envelope, Key, MessageId, Name, Record, Timestamp, Unit, UnitId, sabotage,
};

use super::log::Committed;
use super::view::View;
use crate::unit::TIMERS;

/// The retention of settled deliveries and units. Later redeliveries and resubmissions do not
/// occur.
const RETENTION: Duration = Duration::from_secs(30 * 24 * 3600);

/// The key of a record, with its service.
pub(super) type Owned = (Name, Key);
type Delivered = (Name, String, MessageId);

#[derive(Default)]
pub(super) struct Data {
    pub(super) records: BTreeMap<Owned, Record>,
    pub(super) due: BTreeSet<(Timestamp, Owned)>,
    expires: BTreeSet<(Timestamp, Owned)>,
    expiry: BTreeMap<Owned, Timestamp>,
    /// The last versions of removed records.
    removed: BTreeMap<Owned, u64>,
    pub(super) histories: BTreeMap<Owned, Vec<Recorded>>,
    pub(super) views: BTreeMap<(Name, Name), View>,
    inbox: BTreeMap<Delivered, Timestamp>,
    units: BTreeMap<UnitId, Timestamp>,
    pub(super) journal: BTreeMap<(Name, CorrelationId), Vec<Bytes>>,
    pub(super) counters: BTreeMap<(Name, Name), i64>,
    /// Messages in the order of their commits, by position.
    pub(super) outbox: BTreeMap<u64, (Name, Envelope)>,
    pub(super) positions: BTreeMap<MessageId, u64>,
    last_position: u64,
    pub(super) log: Vec<Committed>,
    /// The number of times that each timer was set, by queue and wire type.
    pub(super) timers: BTreeMap<(String, String), u64>,
}

impl Data {
    /// Commits units at `now`, in order. Returns one outcome for each.
    pub(super) fn commit(&mut self, units: &[Unit], now: Timestamp) -> Vec<Outcome> {
        let mut refused = BTreeSet::new();
        let outcome = |unit: &Unit| {
            let outcome = self.commit_one(unit, &refused, now);
            if outcome != Outcome::Committed {
                let writes = unit.writes.iter();
                refused.extend(writes.map(|write| (unit.service, write.key.clone())));
            }
            outcome
        };
        units.iter().map(outcome).collect()
    }

    /// Commits one unit. `refused` contains the keys that refused units of this batch have written.
    ///
    /// A unit that read such a write is stale. The version alone does not show it: the store may
    /// have other content under the same version.
    fn commit_one(&mut self, unit: &Unit, refused: &BTreeSet<Owned>, now: Timestamp) -> Outcome {
        if self.units.contains_key(&unit.id) {
            return Outcome::Committed;
        }
        if contains_nul(unit) || contains_sql(unit) {
            return Outcome::Refused;
        }
        if self.is_duplicate(unit) {
            return Outcome::Duplicate;
        }
        let read = |key: &Key| refused.contains(&(unit.service, key.clone()));
        let read_refused = unit.reads.iter().any(|it| read(&it.key));
        if read_refused || !self.reads_are_current(unit) || !self.appends_are_consecutive(unit) {
            return Outcome::Stale;
        }
        self.apply(unit, now);
        Outcome::Committed
    }

    pub(super) fn settled(&self, queue: Name, source: &str, message: MessageId) -> bool {
        self.inbox
            .contains_key(&(queue, source.to_owned(), message))
    }

    fn is_duplicate(&self, unit: &Unit) -> bool {
        let settled = |by: &Settled| self.settled(by.queue, &by.source, by.message);
        unit.settles.iter().any(settled)
    }

    fn reads_are_current(&self, unit: &Unit) -> bool {
        if sabotage::lacks(sabotage::READ_SET) {
            return true;
        }
        unit.reads.iter().all(|read| {
            let record = self.records.get(&(unit.service, read.key.clone()));
            record.map_or(0, |record| record.version) == read.version
        })
    }

    fn appends_are_consecutive(&self, unit: &Unit) -> bool {
        let mut next: BTreeMap<&Key, u64> = BTreeMap::new();
        unit.appends.iter().all(|append| {
            let sequence = next.entry(&append.key).or_insert_with(|| {
                let history = self.histories.get(&(unit.service, append.key.clone()));
                history.map_or(0, Vec::len) as u64
            });
            *sequence += 1;
            append.sequence == *sequence
        })
    }

    fn count_timer(&mut self, write: &Write) {
        if write.key.table != TIMERS || write.due_at.is_none() {
            return;
        }
        // The id of a timer is `<queue>/<saga id>/<wire type>`.
        if let Some((queue, rest)) = write.key.id.split_once('/')
            && let Some((_, message)) = rest.rsplit_once('/')
        {
            let timer = (queue.to_owned(), message.to_owned());
            *self.timers.entry(timer).or_default() += 1;
        }
    }

    fn apply(&mut self, unit: &Unit, now: Timestamp) {
        let service = unit.service;
        self.units.insert(unit.id, now);
        if !sabotage::lacks(sabotage::INBOX) {
            for settled in &unit.settles {
                let delivery = (settled.queue, settled.source.clone(), settled.message);
                self.inbox.insert(delivery, now);
            }
        }
        for write in &unit.writes {
            self.count_timer(write);
            self.write((service, write.key.clone()), write);
        }
        for append in &unit.appends {
            let history = self.histories.entry((service, append.key.clone()));
            history.or_default().push(recorded(append));
        }
        for write in &unit.rows {
            self.put_row(service, write);
        }
        self.send(unit);
        self.log.push(Committed::of(unit, now));
        if let Some(journal) = &unit.journal {
            let entries = self.journal.entry((service, journal.correlation));
            entries.or_default().push(journal.body.clone());
        }
        for (counter, by) in &unit.counts {
            *self.counters.entry((service, *counter)).or_default() += by;
        }
    }

    /// Adds a unit's messages to the outbox.
    ///
    /// # Panics
    ///
    /// Panics if a message with the same id is in it: stores find messages by their ids, and would
    /// remove both when one of them is confirmed.
    fn send(&mut self, unit: &Unit) {
        for message in &unit.messages {
            self.last_position += 1;
            let earlier = self.positions.insert(message.id, self.last_position);
            assert!(
                earlier.is_none(),
                "two messages {} wait in outboxes",
                message.id
            );
            self.outbox
                .insert(self.last_position, (unit.service, message.clone()));
        }
    }

    /// Returns the position of the newest message in the outbox.
    pub(super) fn last_position(&self) -> u64 {
        self.last_position
    }

    fn write(&mut self, key: Owned, write: &Write) {
        let version = self.remove(&key);
        let Some(body) = write.body.clone() else {
            return;
        };
        let version = self.removed.remove(&key).unwrap_or(version) + 1;
        if let Some(at) = write.due_at {
            self.due.insert((at, key.clone()));
        }
        if let Some(at) = write.expires_at {
            self.expires.insert((at, key.clone()));
            self.expiry.insert(key.clone(), at);
        }
        let due_at = write.due_at;
        self.records.insert(
            key,
            Record {
                version,
                body,
                due_at,
            },
        );
    }

    /// Removes a record and its index entries, and notes its version. Returns it; 0 if it was
    /// absent.
    fn remove(&mut self, key: &Owned) -> u64 {
        if let Some(at) = self.expiry.remove(key) {
            self.expires.remove(&(at, key.clone()));
        }
        let Some(record) = self.records.remove(key) else {
            return 0;
        };
        if let Some(at) = record.due_at {
            self.due.remove(&(at, key.clone()));
        }
        self.removed.insert(key.clone(), record.version);
        record.version
    }

    fn put_row(&mut self, service: Name, write: &RowWrite) {
        let view = self.views.entry((service, write.view)).or_default();
        match &write.row {
            Some(row) => view.insert(write.key.clone(), row.clone()),
            None => view.remove(&write.key),
        };
    }

    /// Returns the backlog of a service.
    pub(super) fn backlog(&self, service: Name, now: Timestamp) -> Backlog {
        let mut tables = BTreeMap::<Name, DueBacklog>::new();
        for (at, (_, key)) in self.due.iter().filter(|(_, (of, _))| *of == service) {
            let table = tables.entry(key.table).or_insert(DueBacklog {
                table: key.table,
                pending: 0,
                overdue: Waiting::default(),
            });
            table.pending += 1;
            if *at <= now {
                table.overdue.count += 1;
                table.overdue.age = table.overdue.age.max(now.since(*at));
            }
        }
        let own = self.outbox.values().filter(|(of, _)| *of == service);
        let ages = own.map(|(_, message)| now.since(message.time));
        Backlog {
            outbox: ages.fold(Waiting::default(), |sum, age| Waiting {
                count: sum.count + 1,
                age: sum.age.max(age),
            }),
            due: tables.into_values().collect(),
        }
    }

    /// Deletes expired data. Returns the number of deleted entries.
    pub(super) fn retain(&mut self, now: Timestamp) -> u64 {
        let before = self.records.len() + self.inbox.len() + self.units.len();
        while let Some((at, key)) = self.expires.first().cloned()
            && at <= now
        {
            self.remove(&key);
        }
        let oldest = now - RETENTION;
        self.inbox.retain(|_, at| *at >= oldest);
        self.units.retain(|_, at| *at >= oldest);
        (before - self.records.len() - self.inbox.len() - self.units.len()) as u64
    }
}

fn recorded(append: &Append) -> Recorded {
    Recorded {
        sequence: append.sequence,
        at: append.at,
        body: append.body.clone(),
    }
}

/// Returns whether the unit contains SQL. The model refuses such units, since it cannot run them.
fn contains_sql(unit: &Unit) -> bool {
    let found = !unit.statements.is_empty() || unit.transaction.is_some();
    if found {
        tracing::error!(service = %unit.service, "the model cannot run SQL: test this service on Embedded or PostgreSQL");
    }
    found
}

/// Returns whether an id contains NUL. The model refuses such units, as PostgreSQL does.
fn contains_nul(unit: &Unit) -> bool {
    let keys = unit.writes.iter().map(|write| &write.key.id);
    let appends = unit.appends.iter().map(|append| &append.key.id);
    let rows = unit.rows.iter().map(|write| &write.key);
    keys.chain(appends).chain(rows).any(|id| id.contains('\0'))
}
