//! What a unit relies on: versions, histories, and whether it was committed before.

use rusqlite::{OptionalExtension as _, params};
use uuid::Uuid;
use wingbeat_core::Unit;
use wingbeat_core::unit::Outcome;

use super::{Batch, undated};
use crate::id::RecordKey;
use crate::names::NONE;
use crate::writer::scope;

impl Batch<'_> {
    /// Whether everything the unit read is still so, and its events follow on.
    pub(super) fn holds(&mut self, unit: &Unit) -> rusqlite::Result<bool> {
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

    pub(super) fn last_event(&mut self, key: &RecordKey) -> rusqlite::Result<u64> {
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
    pub(super) fn known(&self, unit: &Unit) -> rusqlite::Result<Option<Outcome>> {
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
    pub(super) fn remember(&self, unit: &Unit) -> rusqlite::Result<bool> {
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
}
