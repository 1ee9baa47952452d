//! Validates what a unit relies on: versions, histories, and that it was not committed before.

use rusqlite::types::Value;
use rusqlite::{OptionalExtension as _, params};
use uuid::Uuid;
use wingbeat_core::unit::{Outcome, Settled};
use wingbeat_core::{Timestamp, Unit, sabotage};

use super::Batch;
use crate::id::RecordKey;
use crate::names::NONE;

/// Maximum difference between the time in a UUID of version 7 and the time of the unit. Beyond it,
/// the inbox row gets a time of its own.
const ID_TIME_MAX_DIFFERENCE_MILLIS: i64 = 24 * 3600 * 1000;

impl Batch<'_> {
    /// Returns whether everything that the unit read is unchanged, and its events continue their
    /// histories.
    pub(super) fn is_current(&mut self, unit: &Unit) -> rusqlite::Result<bool> {
        for read in &unit.reads {
            let key = self.shared.key(unit.service, &read.key);
            if self.refused_writes.contains(&key) || self.version(&key)? != read.version {
                return Ok(false);
            }
        }
        let mut next: Vec<(RecordKey, u64)> = Vec::new();
        for append in &unit.appends {
            let key = self.shared.key(unit.service, &append.key);
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

    /// Returns the current version of a record; 0 if it is absent.
    pub(super) fn version(&self, key: &RecordKey) -> rusqlite::Result<u64> {
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
        if let Some(last) = self.last_events.get(key) {
            return Ok(*last);
        }
        let last: Option<i64> = self
            .connection
            .prepare_cached("SELECT max(seq) FROM history WHERE tbl = ?1 AND id = ?2")?
            .query_row(params![key.table, key.id], |row| row.get(0))?;
        let last = last.map_or(0, |last| last as u64);
        self.last_events.insert(key.clone(), last);
        Ok(last)
    }

    /// Returns the outcome of a unit that was committed before, or whose delivery was settled by
    /// another unit.
    pub(super) fn earlier_outcome(&self, unit: &Unit) -> rusqlite::Result<Option<Outcome>> {
        if self.find_in_inbox(unit.id.0, NONE, unit)?.is_some() {
            return Ok(Some(Outcome::Committed));
        }
        let mut earlier = None;
        for settled in &unit.settles {
            let scope = self.shared.scope(settled);
            match self.find_in_inbox(settled.message.0, scope, unit)? {
                // Rows of this unit may have been inserted a moment ago.
                Some(false) => return Ok(Some(Outcome::Duplicate)),
                Some(true) => earlier = Some(Outcome::Committed),
                None => {}
            }
        }
        Ok(earlier)
    }

    /// Deletes the rows of those deliveries of a unit that were settled before.
    pub(super) fn delete_duplicates(&mut self, unit: &Unit) -> rusqlite::Result<()> {
        for settled in &unit.settles {
            let Some(tag) = settled.tag else { continue };
            // The row of a unit's only delivery need not be looked up.
            if unit.settles.len() == 1 || self.is_settled(settled)? {
                self.delete_row(tag.0)?;
            }
        }
        Ok(())
    }

    /// Returns whether a delivery is in the inbox.
    fn is_settled(&self, settled: &Settled) -> rusqlite::Result<bool> {
        let scope = self.shared.scope(settled);
        self.connection
            .prepare_cached("SELECT 1 FROM inbox WHERE id = ?1 AND scope = ?2")?
            .exists(params![settled.message.0.as_bytes(), scope])
    }

    /// Returns whether an inbox row was written by this unit; `None` if there is no row.
    fn find_in_inbox(&self, id: Uuid, scope: u32, unit: &Unit) -> rusqlite::Result<Option<bool>> {
        self.connection
            .prepare_cached(
                "SELECT unit IS NULL OR substr(unit, -8) = ?3 FROM inbox
                 WHERE id = ?1 AND scope = ?2",
            )?
            .query_row(params![id.as_bytes(), scope, mark(unit)], |row| row.get(0))
            .optional()
    }

    /// Inserts the unit's rows into the inbox: the deliveries that it settles, or else the unit
    /// itself. Returns `false` if a row exists.
    pub(super) fn insert_into_inbox(&self, unit: &Unit) -> rusqlite::Result<bool> {
        let settled = settled(unit);
        if settled.is_empty() {
            return self.insert_row(unit, unit.id.0, NONE, None);
        }
        for settled in settled {
            let (id, scope) = (settled.message.0, self.shared.scope(settled));
            if !self.insert_row(unit, id, scope, Some(mark(unit)))? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn insert_row(
        &self,
        unit: &Unit,
        id: Uuid,
        scope: u32,
        by: Option<[u8; 8]>,
    ) -> rusqlite::Result<bool> {
        let inserted = self
            .connection
            .prepare_cached(
                "INSERT INTO inbox(id, scope, unit, at) VALUES(?1, ?2, ?3, ?4)
                 ON CONFLICT DO NOTHING",
            )?
            .execute(params![id.as_bytes(), scope, by, time_beside(&id, unit.at)])?;
        Ok(inserted == 1)
    }
}

/// Returns the deliveries that the unit's inbox rows stand for.
fn settled(unit: &Unit) -> &[Settled] {
    if sabotage::lacks(sabotage::INBOX) {
        return &[];
    }
    &unit.settles
}

/// Returns the end of a unit's id, which is random. It tells a repeated commit from another unit
/// with the same delivery. Earlier releases stored the whole id.
fn mark(unit: &Unit) -> [u8; 8] {
    let [.., a, b, c, d, e, f, g, h] = *unit.id.0.as_bytes();
    [a, b, c, d, e, f, g, h]
}

/// Returns the time of a row, unless its id contains that time (a UUID of version 7).
pub(super) fn time_beside(id: &Uuid, at: Timestamp) -> Value {
    let id_millis = (id.as_u128() >> 80) as i64;
    let difference = (at.as_millis() - id_millis).abs();
    if id.get_version_num() == 7 && difference < ID_TIME_MAX_DIFFERENCE_MILLIS {
        Value::Null
    } else {
        Value::Integer(at.as_micros())
    }
}
