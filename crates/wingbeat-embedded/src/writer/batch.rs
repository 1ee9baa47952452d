//! One transaction: units in order, each all or nothing.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, params};
use uuid::Uuid;
use wingbeat_core::transport::Refused;
use wingbeat_core::unit::{Append, Outcome, RowWrite, Settled, Write};
use wingbeat_core::{Envelope, HashMap, HashSet, Key, Name, Record, Timestamp, Topology, Unit};

use super::{Shared, columns, scope};
use crate::broker::{UNROUTABLE, read_page};
use crate::fault::{Cause, Fault};
use crate::id::RecordKey;
use crate::names::{NONE, Space};
use crate::queue::before_first;

/// What the batch changed so far. Nothing of it is visible before the commit.
pub(super) struct Batch<'a> {
    pub(super) connection: &'a Connection,
    shared: &'a Shared,
    /// Every unit has a savepoint, because one of them failed before.
    careful: bool,
    /// What refused units would have written: whoever read that is stale.
    withdrawn: HashSet<RecordKey>,
    counts: HashMap<(u32, u32), i64>,
    /// The next row of each queue.
    rows: HashMap<u32, u64>,
    /// The last event of each history that was touched.
    histories: HashMap<RecordKey, u64>,
    place: i64,
    effects: Effects,
}

/// What becomes visible in memory with the commit.
#[derive(Default)]
pub(super) struct Effects {
    pub(super) records: HashMap<RecordKey, Option<Record>>,
    queued: Vec<(u64, Envelope, usize)>,
    deleted: Vec<u64>,
    pub(super) wrote: bool,
}

impl Effects {
    pub(super) fn show(self, shared: &Shared) {
        for (key, record) in self.records {
            shared.leases.ended(&key);
            shared.recent.put(key, record);
        }
        shared.broker.settled(&self.deleted);
        shared.broker.committed(self.queued);
    }
}

/// Where a careful unit goes back to.
struct Mark {
    queued: usize,
    deleted: usize,
}

impl<'a> Batch<'a> {
    pub(super) fn new(connection: &'a Connection, shared: &'a Shared, careful: bool) -> Self {
        Self {
            connection,
            shared,
            careful,
            withdrawn: HashSet::default(),
            counts: HashMap::default(),
            rows: HashMap::default(),
            histories: HashMap::default(),
            place: shared.recent.place(),
            effects: Effects::default(),
        }
    }

    /// Commits one unit, unless it is stale, a duplicate or refused.
    pub(super) fn unit(&mut self, unit: &Unit) -> rusqlite::Result<Outcome> {
        let outcome = if self.careful {
            self.guarded(unit)?
        } else {
            self.attempt(unit)?
        };
        match outcome {
            Outcome::Committed => {}
            Outcome::Duplicate => self.settle_row(unit.settles.as_ref())?,
            Outcome::Stale | Outcome::Refused => {}
        }
        if outcome != Outcome::Committed {
            for write in &unit.writes {
                let key = self.key(unit.service, &write.key);
                self.withdrawn.insert(key);
            }
        }
        Ok(outcome)
    }

    /// The unit under a savepoint: if SQLite cannot take it, it alone is refused.
    fn guarded(&mut self, unit: &Unit) -> rusqlite::Result<Outcome> {
        self.connection.execute_batch("SAVEPOINT unit")?;
        let mark = Mark {
            queued: self.effects.queued.len(),
            deleted: self.effects.deleted.len(),
        };
        let (records, counts) = (self.effects.records.clone(), self.counts.clone());
        let (rows, histories) = (self.rows.clone(), self.histories.clone());
        match self.attempt(unit) {
            Err(error) if Fault::of(&error).cause == Cause::Poison => {
                self.connection
                    .execute_batch("ROLLBACK TO unit; RELEASE unit")?;
                self.effects.queued.truncate(mark.queued);
                self.effects.deleted.truncate(mark.deleted);
                self.effects.records = records;
                (self.counts, self.rows, self.histories) = (counts, rows, histories);
                tracing::error!(service = %unit.service, %error, "a unit cannot be stored");
                Ok(Outcome::Refused)
            }
            outcome => {
                self.connection.execute_batch("RELEASE unit")?;
                outcome
            }
        }
    }

    fn attempt(&mut self, unit: &Unit) -> rusqlite::Result<Outcome> {
        if !self.holds(unit)? {
            return Ok(self.known(unit)?.unwrap_or(Outcome::Stale));
        }
        if !self.remember(unit)? {
            return Ok(self.known(unit)?.unwrap_or(Outcome::Duplicate));
        }
        self.effects.wrote = true;
        self.settle_row(unit.settles.as_ref())?;
        for write in &unit.writes {
            self.write(unit.service, write)?;
        }
        for append in &unit.appends {
            self.append(unit.service, append)?;
        }
        for row in &unit.rows {
            self.row(unit.service, row)?;
        }
        for message in &unit.messages {
            self.send(message)?;
        }
        if let Some(journal) = &unit.journal {
            self.place += 1;
            let service = self.service(unit.service);
            self.connection
                .prepare_cached(
                    "INSERT INTO journal(corr, svc, place, body) VALUES(?1, ?2, ?3, ?4)",
                )?
                .execute(params![
                    journal.correlation.0.as_bytes(),
                    service,
                    self.place,
                    &journal.body[..]
                ])?;
        }
        for (name, by) in &unit.counts {
            let service = self.service(unit.service);
            let name = self
                .shared
                .names
                .number_under(unit.service, Space::Counter, *name);
            *self.counts.entry((service, name)).or_default() += by;
        }
        Ok(Outcome::Committed)
    }

    fn service(&self, service: Name) -> u32 {
        self.shared
            .names
            .number(Space::Service, NONE, service.as_str())
    }

    fn key(&self, service: Name, key: &Key) -> RecordKey {
        let table = self
            .shared
            .names
            .number_under(service, Space::Table, key.table);
        RecordKey::new(table, key)
    }

    /// Whether everything the unit read is still so, and its events follow on.
    fn holds(&mut self, unit: &Unit) -> rusqlite::Result<bool> {
        for read in &unit.reads {
            let key = self.key(unit.service, &read.key);
            if self.withdrawn.contains(&key) || self.version(&key)? != read.version {
                return Ok(false);
            }
        }
        let mut next: Vec<(RecordKey, u64)> = Vec::new();
        for append in &unit.appends {
            let key = self.key(unit.service, &append.key);
            let at = match next.iter().position(|(other, _)| *other == key) {
                Some(at) => at,
                None => {
                    let last = self.last_event(&key)?;
                    next.push((key, last));
                    next.len() - 1
                }
            };
            next[at].1 += 1;
            if next[at].1 != append.sequence {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn version(&self, key: &RecordKey) -> rusqlite::Result<u64> {
        if let Some(record) = self.effects.records.get(key) {
            return Ok(record.as_ref().map_or(0, |record| record.version));
        }
        if let Some(record) = self.shared.recent.get(key) {
            return Ok(record.map_or(0, |record| record.version));
        }
        let found = self
            .connection
            .prepare_cached("SELECT version FROM record WHERE tbl = ?1 AND id = ?2")?
            .query_row(params![key.table, key.id], |row| row.get::<_, i64>(0))
            .optional()?;
        Ok(found.map_or(0, |version| version as u64))
    }

    fn last_event(&mut self, key: &RecordKey) -> rusqlite::Result<u64> {
        if let Some(last) = self.histories.get(key) {
            return Ok(*last);
        }
        let last: Option<i64> = self
            .connection
            .prepare_cached("SELECT max(seq) FROM history WHERE tbl = ?1 AND id = ?2")?
            .query_row(params![key.table, key.id], |row| row.get(0))?;
        let last = last.map_or(0, |last| last as u64);
        self.histories.insert(key.clone(), last);
        Ok(last)
    }

    /// What is known of a unit that was here before, or of its delivery.
    fn known(&self, unit: &Unit) -> rusqlite::Result<Option<Outcome>> {
        let by_unit = |id: &Uuid, scope: u32| -> rusqlite::Result<Option<bool>> {
            self.connection
                .prepare_cached(
                    "SELECT unit IS NULL OR unit = ?3 FROM inbox WHERE id = ?1 AND scope = ?2",
                )?
                .query_row(params![id.as_bytes(), scope, unit.id.0.as_bytes()], |row| {
                    row.get(0)
                })
                .optional()
        };
        if by_unit(&unit.id.0, NONE)?.is_some() {
            return Ok(Some(Outcome::Committed));
        }
        let Some(settled) = &unit.settles else {
            return Ok(None);
        };
        let scope = scope(&self.shared.names, settled.queue, &settled.source);
        Ok(
            by_unit(&settled.message.0, scope)?.map(|same| match same && settled.done {
                true => Outcome::Committed,
                false => Outcome::Duplicate,
            }),
        )
    }

    /// Remembers the unit by its delivery, or by itself if it settles none for good; whether it is new.
    fn remember(&self, unit: &Unit) -> rusqlite::Result<bool> {
        let settled = unit.settles.as_ref();
        if settled.is_some_and(|settled| !settled.done) && self.known(unit)?.is_some() {
            return Ok(false);
        }
        let (id, scope) = match settled.filter(|settled| settled.done) {
            Some(settled) => (
                settled.message.0,
                scope(&self.shared.names, settled.queue, &settled.source),
            ),
            None => (unit.id.0, NONE),
        };
        let unit_id = (scope != NONE).then_some(unit.id.0.as_bytes());
        let changed = self
            .connection
            .prepare_cached(
                "INSERT INTO inbox(id, scope, unit, at) VALUES(?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
            )?
            .execute(params![id.as_bytes(), scope, unit_id, undated(&id, unit.at)])?;
        Ok(changed == 1)
    }

    /// Deletes the row of the delivery that a unit settles.
    fn settle_row(&mut self, settled: Option<&Settled>) -> rusqlite::Result<()> {
        match settled.and_then(|settled| settled.tag) {
            Some(tag) => self.delete_row(tag.0),
            None => Ok(()),
        }
    }

    pub(super) fn delete_row(&mut self, row: u64) -> rusqlite::Result<()> {
        let gone = self
            .connection
            .prepare_cached("DELETE FROM queue WHERE id = ?1")?
            .execute([row as i64])?;
        if gone == 1 {
            self.effects.wrote = true;
            self.effects.deleted.push(row);
        }
        Ok(())
    }

    fn write(&mut self, service: Name, write: &Write) -> rusqlite::Result<()> {
        let key = self.key(service, &write.key);
        let version = self.version(&key)? + 1;
        let Some(body) = &write.body else {
            self.remove(key)?;
            return Ok(());
        };
        let (due, expires) = (
            write.due_at.map(Timestamp::as_micros),
            write.expires_at.map(Timestamp::as_micros),
        );
        self.connection
            .prepare_cached(
                "INSERT INTO record(tbl, id, version, body, due_at, expires_at) VALUES(?1, ?2, ?3, ?4, ?5, ?6)
                 ON CONFLICT DO UPDATE SET version = ?3, body = ?4, due_at = ?5, expires_at = ?6",
            )?
            .execute(params![
                key.table,
                key.id,
                version as i64,
                &body[..],
                due,
                expires
            ])?;
        let record = Record {
            version,
            body: body.clone(),
            due_at: write.due_at,
        };
        self.effects.records.insert(key, Some(record));
        Ok(())
    }

    pub(super) fn remove(&mut self, key: RecordKey) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("DELETE FROM record WHERE tbl = ?1 AND id = ?2")?
            .execute(params![key.table, key.id])?;
        self.effects.wrote = true;
        self.effects.records.insert(key, None);
        Ok(())
    }

    fn append(&mut self, service: Name, append: &Append) -> rusqlite::Result<()> {
        let key = self.key(service, &append.key);
        self.connection
            .prepare_cached(
                "INSERT INTO history(tbl, id, seq, at, body) VALUES(?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![
                key.table,
                key.id,
                append.sequence as i64,
                append.at.as_micros(),
                &append.body[..]
            ])?;
        self.histories.insert(key, append.sequence);
        Ok(())
    }

    fn row(&mut self, service: Name, write: &RowWrite) -> rusqlite::Result<()> {
        let names = &self.shared.names;
        let view = names.number_under(service, Space::View, write.view);
        let connection = self.connection;
        let old: Option<Vec<u8>> = connection
            .prepare_cached("SELECT columns FROM view_row WHERE view = ?1 AND key = ?2")?
            .query_row(params![view, write.key], |row| row.get(0))
            .optional()?;
        let old = old.map_or_else(Vec::new, |old| columns::decode(&old));
        let number = |(name, value): &(Name, String)| {
            (
                names.number(Space::Column, view, name.as_str()),
                value.clone(),
            )
        };
        let new: Vec<(u32, String)> = write
            .row
            .iter()
            .flat_map(|row| row.columns.iter().map(number))
            .collect();
        for (column, value) in old.iter().filter(|entry| !new.contains(entry)) {
            connection
                .prepare_cached(
                    "DELETE FROM view_index WHERE col = ?1 AND value = ?2 AND key = ?3",
                )?
                .execute(params![column, value.as_bytes(), write.key])?;
        }
        for (column, value) in new.iter().filter(|entry| !old.contains(entry)) {
            connection
                .prepare_cached("INSERT INTO view_index(col, value, key) VALUES(?1, ?2, ?3) ON CONFLICT DO NOTHING")?
                .execute(params![column, value.as_bytes(), write.key])?;
        }
        match &write.row {
            Some(row) => connection
                .prepare_cached(
                    "INSERT INTO view_row(view, key, columns, body) VALUES(?1, ?2, ?3, ?4)
                     ON CONFLICT DO UPDATE SET columns = ?3, body = ?4",
                )?
                .execute(params![
                    view,
                    write.key,
                    columns::encode(&new),
                    &row.body[..]
                ])?,
            None => connection
                .prepare_cached("DELETE FROM view_row WHERE view = ?1 AND key = ?2")?
                .execute(params![view, write.key])?,
        };
        Ok(())
    }

    /// Queues a message of a unit. A command that no queue takes is kept until one does.
    fn send(&mut self, message: &Envelope) -> rusqlite::Result<()> {
        match self.shared.broker.route(message) {
            Some(queues) => self.queue(&queues, message),
            None => {
                tracing::error!(kind = %message.kind, id = %message.id, "no queue takes this command; it is kept");
                let kept = self.shared.names.number(Space::Queue, NONE, UNROUTABLE);
                self.queue(&[kept], message)
            }
        }
    }

    pub(super) fn publish(
        &mut self,
        messages: &[Envelope],
    ) -> rusqlite::Result<Vec<std::result::Result<(), Refused>>> {
        let mut publish = |message: &Envelope| match self.shared.broker.route(message) {
            Some(queues) => self.queue(&queues, message).map(Ok),
            None => Ok(Err(Refused::Unroutable)),
        };
        messages.iter().map(&mut publish).collect()
    }

    fn queue(&mut self, queues: &[u32], message: &Envelope) -> rusqlite::Result<()> {
        if queues.is_empty() {
            return Ok(());
        }
        let body = message.encode();
        for queue in queues {
            let broker = &self.shared.broker;
            let row = self
                .rows
                .entry(*queue)
                .or_insert_with(|| broker.last(*queue));
            *row += 1;
            self.connection
                .prepare_cached("INSERT INTO queue(id, body) VALUES(?1, ?2)")?
                .execute(params![*row as i64, &body[..]])?;
            self.effects
                .queued
                .push((*row, message.clone(), body.len()));
        }
        self.effects.wrote = true;
        Ok(())
    }

    /// Makes names and routes; commands that were kept because no queue took them go to theirs.
    pub(super) fn declare(
        &mut self,
        services: &[Name],
        topology: &Topology,
    ) -> rusqlite::Result<()> {
        for service in services {
            self.service(*service);
        }
        // Routes are needed at once to place what was kept; nothing is lost if the commit fails.
        self.shared.broker.declare(&self.shared.names, topology);
        let kept = self.shared.names.number(Space::Queue, NONE, UNROUTABLE);
        for message in read_page(self.connection, before_first(kept), usize::MAX >> 1)? {
            if let Ok(envelope) = &message.delivery.envelope
                && let Some(queues) = self.shared.broker.route(envelope)
            {
                self.queue(&queues, envelope)?;
                self.delete_row(message.row)?;
            }
        }
        self.effects.wrote = true;
        Ok(())
    }

    pub(super) fn probe(&mut self) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(
                "INSERT INTO probe(id, at) VALUES(1, 1) ON CONFLICT DO UPDATE SET at = at + 1",
            )?
            .execute([])?;
        self.effects.wrote = true;
        Ok(())
    }

    /// Writes what is summed up over the batch.
    pub(super) fn finish(self) -> rusqlite::Result<Effects> {
        let mut statement = self.connection.prepare_cached(
            "INSERT INTO counters(svc, name, value) VALUES(?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET value = value + ?3",
        )?;
        for ((service, name), by) in &self.counts {
            statement.execute(params![service, name, by])?;
        }
        self.shared.recent.placed(self.place);
        Ok(self.effects)
    }
}

/// When a row was made, unless its id says so (a UUID of version 7 made within the last day).
fn undated(id: &Uuid, at: Timestamp) -> Value {
    const DAY_MILLIS: i64 = 24 * 3600 * 1000;
    let made = (id.as_u128() >> 80) as i64;
    let told = id.get_version_num() == 7 && (at.as_millis() - made).abs() < DAY_MILLIS;
    if told {
        Value::Null
    } else {
        Value::Integer(at.as_micros())
    }
}
