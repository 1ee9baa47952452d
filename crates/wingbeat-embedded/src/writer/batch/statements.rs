//! Runs a unit's SQL in its savepoint.

use rusqlite::types::{ToSql, ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, Error, ErrorCode};
use wingbeat_core::statement::Unmet;
use wingbeat_core::unit::Outcome;
use wingbeat_core::{Param, Statement, Unit};

use super::Batch;
use crate::fault::{Cause, Fault};

impl Batch<'_> {
    /// Runs the statements of a unit in order. Returns the unit's outcome if one of them fails or
    /// misses its expectation.
    pub(super) fn run_statements(&self, unit: &Unit) -> rusqlite::Result<Option<Outcome>> {
        for (number, statement) in (1..).zip(&unit.statements) {
            let result = self
                .shared
                .guard
                .run_statement(|| run(self.connection, statement))
                .map(|changed| statement.check_rows(number, changed));
            let outcome = match result {
                Ok(Ok(())) => continue,
                Ok(Err(unmet)) => Outcome::Unmet(unmet),
                Err(error) => {
                    let outcome = outcome_of(unit, number, &error).ok_or(error)?;
                    if self.connection.is_autocommit() {
                        // The error has rolled back the whole transaction.
                        self.refused.insert(unit.id, outcome);
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

/// Returns the outcome of a unit whose `number`th statement failed, if the statement is at fault.
fn outcome_of(unit: &Unit, number: usize, error: &Error) -> Option<Outcome> {
    tracing::error!(
        service = %unit.service,
        unit = %unit.id,
        statement = number,
        "a statement failed: {error}"
    );
    if error.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) {
        return Some(Outcome::Unmet(Unmet::Busy { statement: number }));
    }
    let at_fault = matches!(Fault::of(error).cause, Cause::Poison | Cause::ForeignKey);
    at_fault.then_some(Outcome::Refused)
}

/// Runs a statement. Returns the number of rows it changed, or returned if it returns rows.
fn run(connection: &Connection, statement: &Statement) -> rusqlite::Result<u64> {
    // Not cached: a text equal to one of the framework's would bypass the guard, since SQLite
    // authorizes a statement when it prepares it.
    let mut prepared = connection.prepare(&statement.text)?;
    let (wanted, given) = (prepared.parameter_count(), statement.params.len());
    if wanted != given {
        return Err(Error::InvalidParameterCount(given, wanted));
    }
    for position in 1..=wanted {
        let name = prepared.parameter_name(position);
        let number = name.map_or(Some(position), parameter_number);
        let param = number.and_then(|number| statement.params.get(number.checked_sub(1)?));
        let param = param.ok_or(Error::InvalidParameterCount(given, wanted))?;
        prepared.raw_bind_parameter(position, Bound(param))?;
    }
    let returns_rows = prepared.column_count() > 0;
    if !returns_rows && prepared.readonly() {
        return Err(Error::InvalidQuery);
    }
    let mut rows = prepared.raw_query();
    let mut returned = 0;
    while rows.next()?.is_some() {
        returned += 1;
    }
    drop(rows);
    if returns_rows {
        Ok(returned)
    } else {
        Ok(connection.changes())
    }
}

/// Returns the number in a parameter's name: `$2` and `?2` are the second parameter, at any
/// position.
fn parameter_number(name: &str) -> Option<usize> {
    name.get(1..)?.parse().ok()
}

/// Binds a parameter in the form in which SQLite stores it.
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
