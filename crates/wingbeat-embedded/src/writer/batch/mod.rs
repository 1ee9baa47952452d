//! One transaction: applies units in order, each completely or not at all.
//!
//! This module writes what a unit changes. `check` validates its reads, `statements` runs its SQL,
//! and `messages` queues its messages.

mod check;
mod messages;
mod statements;

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension as _, params};
use wingbeat_core::unit::{Append, Journal, Outcome, RowWrite, Write};
use wingbeat_core::{Envelope, HashMap, HashSet, LogLimit, Name, Record, Timestamp, Unit};

use self::check::time_beside;
use super::refused::RefusedUnits;
use super::shared::Shared;
use crate::columns;
use crate::fault::{Cause, Fault};
use crate::id::RecordKey;
use crate::names::Space;
use crate::packed::{Kind, Packed, Stored as _};
use crate::views;

/// Limits the log lines about refused units: other programs cause them with their messages.
static LINES: LogLimit = LogLimit::new(50, Duration::from_millis(200));
/// The moment from which the limit counts time.
static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The changes of a transaction so far. Nothing is visible to others before the commit.
pub(super) struct Batch<'a> {
    pub(super) connection: &'a Connection,
    pub(super) shared: &'a Shared,
    /// Every unit gets a savepoint, because a unit failed in an earlier attempt.
    savepoints: bool,
    refused: &'a RefusedUnits,
    /// Records that refused units would have written. Units that read them are stale.
    refused_writes: HashSet<RecordKey>,
    /// Sums to add to the counters, by service and name.
    counts: HashMap<(u32, u32), i64>,
    /// The last row of each queue that was used.
    last_rows: HashMap<u32, u64>,
    /// The last event of each history that was used.
    last_events: HashMap<RecordKey, u64>,
    journal_place: i64,
    effects: Effects,
}

/// Changes to apply in memory once the transaction is durable.
#[derive(Default)]
pub(super) struct Effects {
    records: HashMap<RecordKey, Option<Record>>,
    queued: Vec<(u64, Envelope, usize)>,
    deleted: Vec<u64>,
    /// The transaction wrote something.
    pub(super) wrote: bool,
}

impl Effects {
    /// Applies the changes to the state that readers and consumers see.
    pub(super) fn apply(self, shared: &Shared) {
        for (key, record) in self.records {
            shared.leases.release(&key);
            shared.recent.put(key, record);
        }
        shared.broker.remove(&self.deleted);
        shared.broker.add(self.queued);
    }
}

/// The state in memory before a unit, to restore if the unit fails.
struct Snapshot {
    queued: usize,
    deleted: usize,
    records: HashMap<RecordKey, Option<Record>>,
    counts: HashMap<(u32, u32), i64>,
    last_rows: HashMap<u32, u64>,
    last_events: HashMap<RecordKey, u64>,
}

const ROLLBACK_UNIT: &str = "ROLLBACK TO unit; RELEASE unit";

impl<'a> Batch<'a> {
    pub(super) fn new(
        connection: &'a Connection,
        shared: &'a Shared,
        savepoints: bool,
        refused: &'a RefusedUnits,
    ) -> Self {
        Self {
            connection,
            shared,
            savepoints,
            refused,
            refused_writes: refused.writes(),
            counts: HashMap::default(),
            last_rows: HashMap::default(),
            last_events: HashMap::default(),
            journal_place: shared.recent.journal_place(),
            effects: Effects::default(),
        }
    }

    /// Applies one unit, unless it is stale, a duplicate or refused.
    pub(super) fn unit(&mut self, unit: &Unit) -> rusqlite::Result<Outcome> {
        let outcome = match self.refusal(unit) {
            Some(outcome) => outcome,
            // A row of the inbox may turn out to exist after others were inserted.
            None if self.savepoints || !unit.statements.is_empty() || unit.settles.len() > 1 => {
                self.attempt_in_savepoint(unit)?
            }
            None => self.attempt(unit)?,
        };
        match outcome {
            Outcome::Committed => return Ok(outcome),
            Outcome::Duplicate => self.delete_duplicates(unit)?,
            Outcome::Stale | Outcome::Unmet(_) | Outcome::Refused => {}
        }
        let keys = unit.writes.iter().map(|write| &write.key);
        let keys = keys.map(|key| self.shared.key(unit.service, key));
        self.refused_writes.extend(keys);
        Ok(outcome)
    }

    /// Returns the outcome of a unit that cannot succeed.
    fn refusal(&self, unit: &Unit) -> Option<Outcome> {
        if unit.transaction.is_some() {
            tracing::error!(
                service = %unit.service,
                unit = %unit.id,
                "refused a unit: its transaction belongs to another store"
            );
            return Some(Outcome::Refused);
        }
        self.refused.outcome(unit.id)
    }

    /// Applies a unit in a savepoint. If SQLite cannot store it, a statement misses its
    /// expectation, or one of its deliveries was settled before, only this unit is rolled back.
    fn attempt_in_savepoint(&mut self, unit: &Unit) -> rusqlite::Result<Outcome> {
        self.connection.execute_batch("SAVEPOINT unit")?;
        let snapshot = self.savepoints.then(|| self.snapshot());
        match (self.attempt(unit), snapshot) {
            (Ok(outcome @ (Outcome::Unmet(_) | Outcome::Refused | Outcome::Duplicate)), _) => {
                self.connection.execute_batch(ROLLBACK_UNIT)?;
                Ok(outcome)
            }
            (Err(error), Some(snapshot)) if Fault::of(&error).cause == Cause::Poison => {
                self.connection.execute_batch(ROLLBACK_UNIT)?;
                self.restore(snapshot);
                if let Some(suppressed) = LINES.admit(STARTED.elapsed()) {
                    tracing::error!(
                        service = %unit.service,
                        unit = %unit.id,
                        %error,
                        suppressed,
                        "refused a unit: SQLite cannot store it"
                    );
                }
                Ok(Outcome::Refused)
            }
            (Err(error), _) => Err(error),
            (outcome, _) => {
                self.connection.execute_batch("RELEASE unit")?;
                outcome
            }
        }
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            queued: self.effects.queued.len(),
            deleted: self.effects.deleted.len(),
            records: self.effects.records.clone(),
            counts: self.counts.clone(),
            last_rows: self.last_rows.clone(),
            last_events: self.last_events.clone(),
        }
    }

    fn restore(&mut self, snapshot: Snapshot) {
        self.effects.queued.truncate(snapshot.queued);
        self.effects.deleted.truncate(snapshot.deleted);
        self.effects.records = snapshot.records;
        self.counts = snapshot.counts;
        self.last_rows = snapshot.last_rows;
        self.last_events = snapshot.last_events;
    }

    fn attempt(&mut self, unit: &Unit) -> rusqlite::Result<Outcome> {
        if !self.is_current(unit)? {
            return Ok(self.earlier_outcome(unit)?.unwrap_or(Outcome::Stale));
        }
        if !self.insert_into_inbox(unit)? {
            return Ok(self.earlier_outcome(unit)?.unwrap_or(Outcome::Duplicate));
        }
        // Before anything changes in memory, so that only the file has to be rolled back.
        if let Some(outcome) = self.run_statements(unit)? {
            return Ok(outcome);
        }
        self.effects.wrote = true;
        for tag in unit.settles.iter().filter_map(|settled| settled.tag) {
            self.delete_row(tag.0)?;
        }
        for write in &unit.writes {
            self.write(unit.service, write)?;
        }
        for append in &unit.appends {
            self.append(unit.service, append)?;
        }
        for row in &unit.rows {
            self.write_row(unit.service, row)?;
        }
        for message in &unit.messages {
            self.send(message)?;
        }
        if let Some(journal) = &unit.journal {
            self.write_journal(unit, journal)?;
        }
        for (name, add) in &unit.counts {
            let service = self.shared.service(unit.service);
            let names = &self.shared.names;
            let name = names.intern_under(unit.service, Space::Counter, *name);
            *self.counts.entry((service, name)).or_default() += add;
        }
        Ok(Outcome::Committed)
    }

    /// Deletes a row of a queue.
    pub(super) fn delete_row(&mut self, row: u64) -> rusqlite::Result<()> {
        let deleted = self
            .connection
            .prepare_cached("DELETE FROM queue WHERE id = ?1")?
            .execute([row as i64])?;
        if deleted == 1 {
            self.effects.wrote = true;
            self.effects.deleted.push(row);
        }
        Ok(())
    }

    fn write(&mut self, service: Name, write: &Write) -> rusqlite::Result<()> {
        let key = self.shared.key(service, &write.key);
        let Some(body) = &write.body else {
            return self.remove(key);
        };
        let version = match self.version(&key)? {
            0 => self.shared.removed.last(&key) + 1,
            version => version + 1,
        };
        let packed = self.pack(Kind::Record, key.table, body);
        let (due, expires) = (
            write.due_at.map(Timestamp::as_micros),
            write.expires_at.map(Timestamp::as_micros),
        );
        self.connection
            .prepare_cached(
                "INSERT INTO record(tbl, id, version, body, due_at, expires_at, packed)
                 VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)
                 ON CONFLICT DO UPDATE SET version = ?3, body = ?4, due_at = ?5, expires_at = ?6,
                     packed = ?7",
            )?
            .execute(params![
                key.table,
                key.id,
                version as i64,
                packed.bytes(body),
                due,
                expires,
                packed.dictionary()
            ])?;
        let record = Record {
            version,
            body: body.clone(),
            due_at: write.due_at,
        };
        self.effects.records.insert(key, Some(record));
        Ok(())
    }

    /// Removes a record.
    pub(super) fn remove(&mut self, key: RecordKey) -> rusqlite::Result<()> {
        self.shared.removed.note(&key, self.version(&key)?);
        self.connection
            .prepare_cached("DELETE FROM record WHERE tbl = ?1 AND id = ?2")?
            .execute(params![key.table, key.id])?;
        self.effects.wrote = true;
        self.effects.records.insert(key, None);
        Ok(())
    }

    fn append(&mut self, service: Name, append: &Append) -> rusqlite::Result<()> {
        let key = self.shared.key(service, &append.key);
        let packed = self.pack(Kind::History, key.table, &append.body);
        self.connection
            .prepare_cached(
                "INSERT INTO history(tbl, id, seq, at, body, packed)
                 VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                key.table,
                key.id,
                append.sequence as i64,
                append.at.as_micros(),
                packed.bytes(&append.body),
                packed.dictionary()
            ])?;
        self.last_events.insert(key, append.sequence);
        Ok(())
    }

    fn write_row(&mut self, service: Name, write: &RowWrite) -> rusqlite::Result<()> {
        let view = self
            .shared
            .names
            .intern_under(service, Space::View, write.view);
        let columns = self.numbered_columns(view, write);
        self.update_index(view, &write.key, &columns)?;
        match &write.row {
            Some(row) => self.put_row(view, &write.key, &columns, &row.body)?,
            None => self
                .connection
                .prepare_cached("DELETE FROM view_row WHERE view = ?1 AND key = ?2")?
                .execute(params![view, write.key])?,
        };
        Ok(())
    }

    fn put_row(
        &self,
        view: u32,
        key: &str,
        columns: &[(u32, String)],
        body: &[u8],
    ) -> rusqlite::Result<usize> {
        let dictionaries = &self.shared.names.dictionaries;
        // Columns repeat values of the body.
        let whole = [&columns::encode_first(columns)[..], body].concat();
        let packed = dictionaries.pack_with(Kind::View, view, body, &whole);
        let columns = match &packed {
            Some(_) => Vec::new(),
            None => columns::encode(columns),
        };
        self.connection
            .prepare_cached(
                "INSERT INTO view_row(view, key, columns, body, packed) VALUES(?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT DO UPDATE SET columns = ?3, body = ?4, packed = ?5",
            )?
            .execute(params![
                view,
                key,
                columns,
                packed.bytes(body),
                packed.dictionary()
            ])
    }

    fn pack(&self, kind: Kind, name: u32, body: &[u8]) -> Option<Packed> {
        self.shared.names.dictionaries.pack(kind, name, body)
    }

    /// Replaces the index entries of a row by those of its new columns.
    fn update_index(&self, view: u32, key: &str, new: &[(u32, String)]) -> rusqlite::Result<()> {
        let connection = self.connection;
        let old = connection
            .prepare_cached(
                "SELECT columns, body, packed FROM view_row WHERE view = ?1 AND key = ?2",
            )?
            .query_row(params![view, key], |row| {
                views::stored(&self.shared.names, row, 0)
            })
            .optional()?;
        let old = old.map_or_else(Vec::new, |(columns, _)| columns);
        for (column, value) in old.iter().filter(|entry| !new.contains(entry)) {
            connection
                .prepare_cached(
                    "DELETE FROM view_index WHERE col = ?1 AND value = ?2 AND key = ?3",
                )?
                .execute(params![column, value.as_bytes(), key])?;
        }
        for (column, value) in new.iter().filter(|entry| !old.contains(entry)) {
            connection
                .prepare_cached(
                    "INSERT INTO view_index(col, value, key) VALUES(?1, ?2, ?3)
                     ON CONFLICT DO NOTHING",
                )?
                .execute(params![column, value.as_bytes(), key])?;
        }
        Ok(())
    }

    fn numbered_columns(&self, view: u32, write: &RowWrite) -> Vec<(u32, String)> {
        let names = &self.shared.names;
        let number = |(name, value): &(Name, String)| {
            let number = names.intern(Space::Column, view, name.as_str());
            (number, value.clone())
        };
        let columns = write.row.iter().flat_map(|row| &row.columns);
        columns.map(number).collect()
    }

    fn write_journal(&mut self, unit: &Unit, journal: &Journal) -> rusqlite::Result<()> {
        self.journal_place += 1;
        let names = &self.shared.names;
        let service = self.shared.service(unit.service);
        // Entries contain names of messages, and so do the names of counters.
        let words = || {
            let counters = names.under(Space::Counter, service).into_iter();
            let counters: Vec<_> = counters.map(|(_, name)| name.as_str()).collect();
            counters.concat().into_bytes()
        };
        let packed =
            names
                .dictionaries
                .pack_with_words(Kind::Journal, service, &journal.body, words);
        self.connection
            .prepare_cached(
                "INSERT INTO journal(corr, svc, place, body, at, packed)
                 VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                journal.correlation.0.as_bytes(),
                service,
                self.journal_place,
                packed.bytes(&journal.body),
                time_beside(&journal.correlation.0, unit.at),
                packed.dictionary()
            ])?;
        Ok(())
    }

    /// Writes something, to find out whether writes succeed.
    pub(super) fn probe(&mut self) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached(
                "INSERT INTO probe(id, at) VALUES(1, 1) ON CONFLICT DO UPDATE SET at = at + 1",
            )?
            .execute([])?;
        self.effects.wrote = true;
        Ok(())
    }

    /// Writes the sums of the batch, and returns what to apply after the commit.
    pub(super) fn finish(self) -> rusqlite::Result<Effects> {
        let mut statement = self.connection.prepare_cached(
            "INSERT INTO counters(svc, name, value) VALUES(?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET value = value + ?3",
        )?;
        for ((service, name), add) in &self.counts {
            statement.execute(params![service, name, add])?;
        }
        self.shared.recent.set_journal_place(self.journal_place);
        Ok(self.effects)
    }
}
