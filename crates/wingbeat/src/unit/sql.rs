//! SQL on a service's own tables, as part of a unit.

use std::borrow::Cow;

use wingbeat_core::statement::{OpenTransaction, Params, Statement};
use wingbeat_core::{Error, Result};

use super::scope::Scope;

impl Scope {
    /// Prepares a statement on the service's own tables, for [`Sql::expect_rows`] or
    /// [`Sql::any_rows`] to record in this unit.
    ///
    /// The store runs recorded statements when it commits the unit, in the order of recording and
    /// after it has validated the reads. The statements and the rest of the unit take effect
    /// together or not at all. Units that are stale, duplicate or already committed run none.
    ///
    /// `$1`, `$2`, … stand for the parameters: an array, or a tuple if their types differ. The
    /// store converts each parameter to the type that its place requires. Use constant texts, so
    /// that each is prepared once.
    ///
    /// A statement that the database cannot run (wrong syntax, a violated constraint) refuses the
    /// unit: a dead letter, or status 500. A store without SQL refuses every statement.
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

    /// Commits the unit in an open transaction of the store (`Postgres::begin`), with the changes
    /// made in it. The transaction is rolled back if the handler fails or its reads have changed.
    ///
    /// # Errors
    ///
    /// `two_transactions` if the unit has a transaction already; `sealed` after the handler has
    /// returned.
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

/// A statement that is not recorded yet; see [`Scope::sql`].
#[must_use = "the statement is recorded by `expect_rows` or `any_rows`"]
pub struct Sql<'a> {
    scope: &'a Scope,
    statement: Statement,
}

impl Sql<'_> {
    /// Records the statement, which must change exactly `rows` rows (or return them, if it returns
    /// rows).
    ///
    /// Otherwise the unit takes no effect. A message is retried by its policy, and becomes a dead
    /// letter with the reason `rows_unexpected`. A command gets three attempts; then its caller
    /// gets status 409 with that code.
    ///
    /// # Errors
    ///
    /// `sealed` after the handler has returned.
    pub fn expect_rows(self, rows: u64) -> Result<()> {
        let statement = self.statement.expecting(rows);
        self.scope.with(|draft| draft.statements.push(statement))
    }

    /// Records the statement, which may change any number of rows, including none.
    ///
    /// # Errors
    ///
    /// `sealed` after the handler has returned.
    pub fn any_rows(self) -> Result<()> {
        let statement = self.statement;
        self.scope.with(|draft| draft.statements.push(statement))
    }
}
