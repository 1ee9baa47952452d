//! A unit's own SQL, under its savepoint.

use std::cell::RefCell;

use rusqlite::types::{ToSql, ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, Error, ErrorCode};
use wingbeat_core::statement::Unmet;
use wingbeat_core::unit::Outcome;
use wingbeat_core::{HashMap, HashSet, Param, Statement, Unit, UnitId};

use super::Batch;
use crate::fault::{Cause, Fault};
use crate::id::RecordKey;

/// Units whose statements ended the whole transaction (interrupted, or on a conflict that rolls back): when it is
/// made again, it is without them. And what units of the same job would have written that are refused already.
#[derive(Default)]
pub(in crate::writer) struct Doomed {
    units: RefCell<HashMap<UnitId, Outcome>>,
    withdrawn: RefCell<HashSet<RecordKey>>,
}

impl Doomed {
    pub(in crate::writer) fn count(&self) -> usize {
        self.units.borrow().len()
    }

    pub(in crate::writer) fn withdraw(&self, keys: impl Iterator<Item = RecordKey>) {
        self.withdrawn.borrow_mut().extend(keys);
    }

    pub(super) fn withdrawn(&self) -> HashSet<RecordKey> {
        self.withdrawn.borrow().clone()
    }
}

impl Batch<'_> {
    /// What becomes of the unit, if that is certain without trying.
    pub(super) fn foreseen(&self, unit: &Unit) -> Option<Outcome> {
        if unit.companion.is_some() {
            tracing::error!(service = %unit.service, "a unit cannot be stored: its transaction is not one of this store");
            return Some(Outcome::Refused);
        }
        self.doomed.units.borrow().get(&unit.id).copied()
    }

    /// Runs the statements of a unit in order; what becomes of it, unless all did what was expected.
    pub(super) fn statements(&self, unit: &Unit) -> rusqlite::Result<Option<Outcome>> {
        for (number, statement) in (1..).zip(&unit.statements) {
            let done = self
                .shared
                .guard
                .rows(|| run(self.connection, statement))
                .map(|changed| statement.check_rows(number, changed));
            let outcome = match done {
                Ok(Ok(())) => continue,
                Ok(Err(unmet)) => Outcome::Unmet(unmet),
                Err(error) => {
                    let outcome = meaning(&error, number).ok_or(error)?;
                    if self.connection.is_autocommit() {
                        self.doomed.units.borrow_mut().insert(unit.id, outcome);
                        return Err(Error::InvalidQuery);
                    }
                    outcome
                }
            };
            return Ok(Some(outcome));
        }
        Ok(None)
    }
}

/// What becomes of a unit whose `number`th statement failed like this, if it is at fault.
fn meaning(error: &Error, number: usize) -> Option<Outcome> {
    tracing::error!(statement = number, "a statement fails: {error}");
    if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) {
        return Some(Outcome::Unmet(Unmet::Busy { statement: number }));
    }
    let at_fault = matches!(Fault::of(error).cause, Cause::Poison | Cause::ForeignKey);
    at_fault.then_some(Outcome::Refused)
}

/// Runs it; how many rows it changed, or returned if it returns rows.
fn run(connection: &Connection, statement: &Statement) -> rusqlite::Result<u64> {
    // Not from the cache: a text that is the same as one of ours would get past the guard.
    let mut prepared = connection.prepare(&statement.text)?;
    let (wanted, given) = (prepared.parameter_count(), statement.params.len());
    if wanted != given {
        return Err(Error::InvalidParameterCount(given, wanted));
    }
    for place in 1..=wanted {
        let number = prepared.parameter_name(place).map_or(Some(place), number);
        let param = number.and_then(|number| statement.params.get(number.checked_sub(1)?));
        let param = param.ok_or(Error::InvalidParameterCount(given, wanted))?;
        prepared.raw_bind_parameter(place, Bound(param))?;
    }
    let returns = prepared.column_count() > 0;
    if !returns && prepared.readonly() {
        return Err(Error::InvalidQuery);
    }
    let mut rows = prepared.raw_query();
    let mut returned = 0;
    while rows.next()?.is_some() {
        returned += 1;
    }
    drop(rows);
    Ok(if returns {
        returned
    } else {
        connection.changes()
    })
}

/// `$2` and `?2` are the second parameter, wherever they stand.
fn number(name: &str) -> Option<usize> {
    name.get(1..)?.parse().ok()
}

/// A parameter as SQLite stores it.
struct Bound<'a>(&'a Param);

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self.0 {
            Param::Null => ToSqlOutput::Owned(Value::Null),
            Param::Bool(value) => ToSqlOutput::from(*value),
            Param::Int(value) => ToSqlOutput::from(*value),
            Param::Real(value) => ToSqlOutput::from(*value),
            Param::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Param::Bytes(bytes) => ToSqlOutput::Borrowed(ValueRef::Blob(bytes)),
        })
    }
}
