//! Statements of services: which are allowed, how parameters are bound, and how errors are
//! classified.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt::Write as _;

use bytes::BytesMut;
use deadpool_postgres::Object;
use tokio_postgres::Row;
use tokio_postgres::types::{Format, IsNull, ToSql, Type};
use wingbeat_core::{Param, Statement, Unit};

use crate::fault::{Fault, describe, is_outdated};

/// Keywords that a statement may begin with. None of them ends the transaction. A statement can
/// still change the session that others use after it: by `set_config(…, false)`, or by a session's
/// advisory locks.
const KEYWORDS: [&str; 9] = [
    "select", "insert", "update", "delete", "merge", "with", "values", "call", "notify",
];

/// A parameter in PostgreSQL's text format: the server converts it to the type that the statement
/// needs there.
#[derive(Debug)]
struct Text<'a>(&'a Param);

impl ToSql for Text<'_> {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        match self.0 {
            Param::Null => return Ok(IsNull::Yes),
            Param::Bool(value) => write!(out, "{value}")?,
            Param::Int(value) => write!(out, "{value}")?,
            Param::Real(value) => write!(out, "{value}")?,
            Param::Text(value) => out.extend_from_slice(value.as_bytes()),
            Param::Bytes(value) => {
                out.extend_from_slice(b"\\x");
                value
                    .iter()
                    .try_for_each(|byte| write!(out, "{byte:02x}"))?;
            }
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    tokio_postgres::types::to_sql_checked!();
}

/// A prepared statement with its parameters.
pub(crate) struct Bound<'a> {
    connection: &'a Object,
    text: &'a str,
    prepared: tokio_postgres::Statement,
    params: Vec<Text<'a>>,
}

impl<'a> Bound<'a> {
    /// Prepares a statement. A static text is prepared once per connection.
    pub(crate) async fn prepare(
        connection: &'a Object,
        statement: &'a Statement,
    ) -> Result<Self, Fault> {
        let (text, params) = (&*statement.text, &statement.params);
        if !is_allowed(text) {
            let text = format!("a statement cannot begin with {:?}", keyword(text));
            return Err(Fault::Poison(text));
        }
        let prepared = match &statement.text {
            Cow::Borrowed(text) => connection.prepare_cached(text).await,
            Cow::Owned(text) => connection.prepare(text).await,
        };
        let prepared = prepared.map_err(|e| Fault::of_statement(&e))?;
        let (wanted, given) = (prepared.params().len(), params.len());
        if wanted != given {
            let text = format!("the statement has {wanted} parameters, but {given} were given");
            return Err(Fault::Poison(text));
        }
        let params = params.iter().map(Text).collect();
        Ok(Self {
            connection,
            text,
            prepared,
            params,
        })
    }

    /// Runs the statement. Returns the number of rows it changed or returned.
    pub(crate) async fn execute(&self) -> Result<u64, Fault> {
        let params = self.params();
        let changed = self.connection.execute(&self.prepared, &params);
        changed.await.map_err(|e| self.fault(&e))
    }

    /// Runs the statement and returns its rows.
    pub(crate) async fn query(&self) -> Result<Vec<Row>, Fault> {
        let params = self.params();
        let rows = self.connection.query(&self.prepared, &params);
        rows.await.map_err(|e| self.fault(&e))
    }

    fn params(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.params.iter().map(|it| it as _).collect()
    }

    /// Classifies an error. If a migration made the prepared statement outdated, this removes it
    /// from the caches of all connections, since the next attempt may use any of them.
    fn fault(&self, error: &tokio_postgres::Error) -> Fault {
        if !is_outdated(error) {
            return Fault::of_statement(error);
        }
        if let Some(pool) = Object::pool(self.connection) {
            pool.manager().statement_caches.remove(self.text, &[]);
        }
        Fault::Busy(describe(error))
    }
}

/// Runs the statements of a unit in order, in the connection's open transaction.
pub(crate) async fn run(connection: &Object, unit: &Unit) -> Result<(), Fault> {
    for (number, statement) in (1..).zip(&unit.statements) {
        let changed = execute(connection, statement)
            .await
            .map_err(|fault| fault.in_statement(number))?;
        statement
            .check_rows(number, changed)
            .map_err(Fault::Unmet)?;
    }
    Ok(())
}

async fn execute(connection: &Object, statement: &Statement) -> Result<u64, Fault> {
    let bound = Bound::prepare(connection, statement).await?;
    bound.execute().await
}

fn is_allowed(text: &str) -> bool {
    let word = keyword(text).to_ascii_lowercase();
    KEYWORDS.contains(&word.as_str())
}

/// Returns the first word after whitespace, parentheses and `--` comments. Comments of the form
/// `/* … */` may be nested, so none may come first.
fn keyword(text: &str) -> &str {
    let mut rest = skip(text);
    while let Some(comment) = rest.strip_prefix("--") {
        rest = skip(comment.split_once('\n').map_or("", |(_, rest)| rest));
    }
    let end = rest.find(|c: char| !c.is_ascii_alphabetic());
    &rest[..end.unwrap_or(rest.len())]
}

fn skip(text: &str) -> &str {
    text.trim_start_matches([' ', '\t', '\r', '\n', '('])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_that_end_the_transaction_are_refused() {
        for text in [
            "COMMIT",
            "  rollback",
            "/* select */ end",
            "-- select\ncommit",
            "BEGIN",
            "SET search_path TO x",
            "/* /* */ select */ commit",
            "",
            "PREPARE TRANSACTION 'x'",
        ] {
            assert!(!is_allowed(text), "{text}");
        }
    }

    #[test]
    fn statements_that_read_or_change_rows_are_allowed() {
        for text in [
            "UPDATE stock SET free = 0",
            "(select 1) union (select 2)",
            "-- why\n  Insert INTO t VALUES (1)",
            "with a as (select 1) delete from t",
        ] {
            assert!(is_allowed(text), "{text}");
        }
    }
}
