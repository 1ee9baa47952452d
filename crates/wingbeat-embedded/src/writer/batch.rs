//! One transaction: units in order, each all or nothing.
//!
//! - Here: what a unit writes. `check`: what it relies on. `messages`: what it sends. `statements`: its own SQL.

mod check;
mod messages;
mod statements;

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension as _, params};
use uuid::Uuid;
use wingbeat_core::unit::{Append, Outcome, RowWrite, Settled, Write};
use wingbeat_core::{Envelope, HashMap, HashSet, Key, Name, Record, Timestamp, Unit};

pub(super) use self::statements::Doomed;
use super::{Shared, columns};
use crate::fault::{Cause, Fault};
use crate::id::RecordKey;
use crate::names::{NONE, Space};

/// What the batch changed so far. Nothing of it is visible before the commit.
pub(super) struct Batch<'a> {
    pub(super) connection: &'a Connection,
    shared: &'a Shared,
    /// Every unit has a savepoint, because one of them failed before.
    careful: bool,
    doomed: &'a Doomed,
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
    records: HashMap<RecordKey, Option<Record>>,
    counts: HashMap<(u32, u32), i64>,
    rows: HashMap<u32, u64>,
    histories: HashMap<RecordKey, u64>,
}

const TAKE_BACK: &str = "ROLLBACK TO unit; RELEASE unit";

impl<'a> Batch<'a> {
    pub(super) fn new(
        connection: &'a Connection,
        shared: &'a Shared,
        careful: bool,
        doomed: &'a Doomed,
    ) -> Self {
        Self {
            connection,
            shared,
            careful,
            doomed,
            withdrawn: doomed.withdrawn(),
            counts: HashMap::default(),
            rows: HashMap::default(),
            histories: HashMap::default(),
            place: shared.recent.place(),
            effects: Effects::default(),
        }
    }

    /// Commits one unit, unless it is stale, a duplicate or refused.
    pub(super) fn unit(&mut self, unit: &Unit) -> rusqlite::Result<Outcome> {
        let outcome = match self.foreseen(unit) {
            Some(outcome) => outcome,
            None if self.careful || !unit.statements.is_empty() => self.guarded(unit)?,
            None => self.attempt(unit)?,
        };
        match outcome {
            Outcome::Committed => {}
            Outcome::Duplicate => self.settle_row(unit.settles.as_ref())?,
            Outcome::Stale | Outcome::Unmet(_) | Outcome::Refused => {}
        }
        if outcome != Outcome::Committed {
            for write in &unit.writes {
                let key = self.key(unit.service, &write.key);
                self.withdrawn.insert(key);
            }
        }
        Ok(outcome)
    }

    /// The unit under a savepoint: if SQLite cannot take it, or a statement does not do what was expected, it
    /// alone is taken back.
    fn guarded(&mut self, unit: &Unit) -> rusqlite::Result<Outcome> {
        self.connection.execute_batch("SAVEPOINT unit")?;
        let mark = self.careful.then(|| self.mark());
        match (self.attempt(unit), mark) {
            (Ok(outcome @ (Outcome::Unmet(_) | Outcome::Refused)), _) => {
                self.connection.execute_batch(TAKE_BACK)?;
                Ok(outcome)
            }
            (Err(error), Some(mark)) if Fault::of(&error).cause == Cause::Poison => {
                self.connection.execute_batch(TAKE_BACK)?;
                self.go_back(mark);
                tracing::error!(service = %unit.service, %error, "a unit cannot be stored");
                Ok(Outcome::Refused)
            }
            (Err(error), _) => Err(error),
            (outcome, _) => {
                self.connection.execute_batch("RELEASE unit")?;
                outcome
            }
        }
    }

    fn mark(&self) -> Mark {
        Mark {
            queued: self.effects.queued.len(),
            deleted: self.effects.deleted.len(),
            records: self.effects.records.clone(),
            counts: self.counts.clone(),
            rows: self.rows.clone(),
            histories: self.histories.clone(),
        }
    }

    fn go_back(&mut self, mark: Mark) {
        self.effects.queued.truncate(mark.queued);
        self.effects.deleted.truncate(mark.deleted);
        self.effects.records = mark.records;
        (self.counts, self.rows, self.histories) = (mark.counts, mark.rows, mark.histories);
    }

    fn attempt(&mut self, unit: &Unit) -> rusqlite::Result<Outcome> {
        if !self.holds(unit)? {
            return Ok(self.known(unit)?.unwrap_or(Outcome::Stale));
        }
        if !self.remember(unit)? {
            return Ok(self.known(unit)?.unwrap_or(Outcome::Duplicate));
        }
        // Before anything is noted in memory, so that only the file has to be taken back.
        if let Some(outcome) = self.statements(unit)? {
            return Ok(outcome);
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
        self.shared.key(service, key)
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
