//! SQL of a service's own, as a part of the unit.

use std::borrow::Cow;

use wingbeat_core::statement::{OpenTransaction, Params, Statement};
use wingbeat_core::{Error, Result};

use super::scope::Scope;

impl Scope {
    /// A statement on tables of the service's own, committed with the unit: all of it takes effect, or nothing.
    /// It is recorded by [`Sql::expect_rows`] or [`Sql::any_rows`], and run by the store when the unit is
    /// committed, after all that the unit read was found unchanged; statements run in the order in which they
    /// were recorded. A unit that is stale, a duplicate, or known already runs none.
    ///
    /// `$1`, `$2`, … stand for the parameters: an array, or a tuple when their types differ. The store converts
    /// each to the type that is needed in its place. Give texts that do not change, so that they are prepared
    /// once.
    ///
    /// A statement that the database cannot run (wrong syntax, a constraint that it breaks) refuses the unit: a
    /// dead letter, or status 500. So does any statement on a store without SQL.
    ///
    /// ```
    /// # use wingbeat::{Result, Scope};
    /// # fn reserve(unit: &Scope, sku: &str, count: i64) -> Result<()> {
    /// unit.sql(
    ///     "UPDATE stock SET free = free - $2 WHERE sku = $1 AND free >= $2",
    ///     (sku, count),
    /// )
    /// .expect_rows(1)
    /// # }
    /// ```
    pub fn sql(&self, text: impl Into<Cow<'static, str>>, params: impl Params) -> Sql<'_> {
        Sql {
            scope: self,
            statement: Statement::new(text, params),
        }
    }

    /// Commits the unit in an open transaction of the store (`Postgres::begin`), with what was done in it.
    /// If the handler fails, or what it read has changed, the transaction is rolled back.
    ///
    /// # Errors
    ///
    /// `two_transactions` when the unit has one already, and after the handler has returned.
    pub fn commit_in(&self, transaction: impl Into<OpenTransaction>) -> Result<()> {
        let before = self.with(|draft| draft.transaction.replace(transaction.into()))?;
        match before {
            None => Ok(()),
            Some(_) => Err(Error::reject(
                "two_transactions",
                "a unit is committed in one transaction",
            )),
        }
    }
}

/// A statement that is not yet a part of the unit; see [`Scope::sql`].
#[must_use = "the statement is recorded by `expect_rows` or `any_rows`"]
pub struct Sql<'a> {
    scope: &'a Scope,
    statement: Statement,
}

impl Sql<'_> {
    /// Records the statement; it must change exactly so many rows (or return them, if it returns rows).
    ///
    /// Otherwise nothing of the unit takes effect: a message is handled again by its policy of retries, and ends
    /// as a dead letter with the reason `rows_unexpected`; a command is run again a few times, then its caller
    /// gets status 409 with that code.
    ///
    /// # Errors
    ///
    /// After the handler has returned.
    pub fn expect_rows(self, rows: u64) -> Result<()> {
        let statement = self.statement.expecting(rows);
        self.scope.with(|draft| draft.statements.push(statement))
    }

    /// Records the statement; it may change any number of rows, none as well.
    ///
    /// # Errors
    ///
    /// After the handler has returned.
    pub fn any_rows(self) -> Result<()> {
        let statement = self.statement;
        self.scope.with(|draft| draft.statements.push(statement))
    }
}
