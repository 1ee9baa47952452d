//! Transactions that a handler has open while it thinks.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use deadpool_postgres::Object;
use futures_util::FutureExt as _;
use tokio::sync::OwnedSemaphorePermit;
use tokio_postgres::Row;
use wingbeat_core::{Companion, Error, Params, Result, Statement};

use crate::fault::Fault;
use crate::statement::Bound;

/// An open transaction (READ COMMITTED) on a connection of its own; see [`Postgres::begin`](crate::Postgres::begin).
///
/// Hand it to `Scope::commit_in`, and inbox, records and messages of the unit are committed in it as well.
/// Dropped, it is rolled back. Statements and parameters are as for `Scope::sql`.
///
/// # Errors
///
/// Of all methods: `statement_refused` when PostgreSQL cannot run the statement, `statement_busy` when what it
/// needs is locked or takes too long, `store_away`. After an error nothing can be done in the transaction.
pub struct Transaction {
    /// `None` once it has ended.
    connection: Option<Object>,
    /// Statements that were begun and not finished; at the end, those that nobody waited for.
    unfinished: AtomicUsize,
    /// One failed: nothing that follows can be done, and a COMMIT would quietly roll back.
    failed: AtomicBool,
    permit: OwnedSemaphorePermit,
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Transaction")
    }
}

impl Transaction {
    /// Around a connection on which a transaction was begun.
    pub(crate) fn new(connection: Object, permit: OwnedSemaphorePermit) -> Self {
        Self {
            connection: Some(connection),
            unfinished: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
            permit,
        }
    }

    pub(crate) fn permit(&self) -> &OwnedSemaphorePermit {
        &self.permit
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    /// Whether somebody did not wait for the end of a statement.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.unfinished.load(Ordering::SeqCst) > 0
    }

    /// It was committed: the connection may be used again.
    pub(crate) fn ended(mut self) {
        self.connection = None;
    }

    /// Runs a statement; how many rows it changed.
    ///
    /// # Errors
    ///
    /// See [`Transaction`].
    pub async fn execute(
        &self,
        text: impl Into<Cow<'static, str>>,
        params: impl Params,
    ) -> Result<u64> {
        let statement = Statement::new(text, params);
        self.run(async |connection| {
            let bound = Bound::prepare(connection, &statement).await?;
            bound.execute().await
        })
        .await
    }

    /// The rows of a query.
    ///
    /// # Errors
    ///
    /// See [`Transaction`].
    pub async fn query(
        &self,
        text: impl Into<Cow<'static, str>>,
        params: impl Params,
    ) -> Result<Vec<Row>> {
        let statement = Statement::new(text, params);
        self.run(async |connection| {
            let bound = Bound::prepare(connection, &statement).await?;
            bound.query().await
        })
        .await
    }

    /// The row of a query, if there is one.
    ///
    /// # Errors
    ///
    /// See [`Transaction`]; `rows_unexpected` (to be retried) when there are more.
    pub async fn query_opt(
        &self,
        text: impl Into<Cow<'static, str>>,
        params: impl Params,
    ) -> Result<Option<Row>> {
        let mut rows = self.query(text, params).await?;
        match rows.len() {
            0 | 1 => Ok(rows.pop()),
            found => Err(unexpected(found)),
        }
    }

    /// The one row of a query.
    ///
    /// # Errors
    ///
    /// See [`Transaction`]; `rows_unexpected` (to be retried) when there is none, or more than one.
    pub async fn query_one(
        &self,
        text: impl Into<Cow<'static, str>>,
        params: impl Params,
    ) -> Result<Row> {
        let found = self.query_opt(text, params).await?;
        found.ok_or_else(|| unexpected(0))
    }

    /// Runs what the store needs in it.
    pub(crate) async fn batch(&self, sql: &str) -> Result<()> {
        self.run(async |connection| {
            let done = connection.batch_execute(sql).await;
            done.map_err(|e| Fault::of(&e))
        })
        .await
    }

    async fn run<T>(
        &self,
        work: impl AsyncFnOnce(&Object) -> std::result::Result<T, Fault>,
    ) -> Result<T> {
        let done = self.during(work).await;
        done.map_err(Fault::in_transaction)
    }

    /// Does something on its connection.
    pub(crate) async fn during<T>(
        &self,
        work: impl AsyncFnOnce(&Object) -> std::result::Result<T, Fault>,
    ) -> std::result::Result<T, Fault> {
        let connection = self.connection.as_ref().expect("it has not ended");
        self.unfinished.fetch_add(1, Ordering::SeqCst);
        let done = work(connection).await;
        if !matches!(done, Err(Fault::Late | Fault::Silent)) {
            self.unfinished.fetch_sub(1, Ordering::SeqCst);
        }
        self.failed.fetch_or(done.is_err(), Ordering::SeqCst);
        done
    }
}

fn unexpected(found: usize) -> Error {
    Error::retry(
        "rows_unexpected",
        format!("{found} rows were found, 1 expected"),
    )
}

impl Drop for Transaction {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        if self.is_unfinished() {
            // It may be busy for long: nobody should wait for that who comes next.
            drop(Object::take(connection));
        } else {
            roll_back(&connection);
        }
    }
}

/// Sends a ROLLBACK and does not wait: the server takes what comes on a connection in its order, so whoever uses
/// it next is outside of the transaction.
fn roll_back(connection: &Object) {
    drop(connection.batch_execute("ROLLBACK").now_or_never());
}

/// A transaction on a borrowed connection, for the commit of units. Rolled back if it is dropped before its end,
/// also when nobody waits for the commit any more.
pub(crate) struct Begun<'a> {
    connection: Option<&'a Object>,
}

impl<'a> Begun<'a> {
    pub(crate) async fn new(connection: &'a Object) -> std::result::Result<Self, Fault> {
        let begun = Self {
            connection: Some(connection),
        };
        let done = connection.batch_execute(BEGIN).await;
        done.map_err(|e| Fault::of(&e)).map(|()| begun)
    }

    pub(crate) async fn commit(mut self) -> std::result::Result<(), Fault> {
        if let Some(connection) = self.connection {
            commit(connection).await?;
            self.connection = None;
        }
        Ok(())
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection {
            roll_back(connection);
        }
    }
}

/// `commit_v2` relies on seeing what was committed while it waited for a lock.
pub(crate) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// Makes durable what was done in the transaction. Deferred constraints are checked here.
pub(crate) async fn commit(connection: &Object) -> std::result::Result<(), Fault> {
    let done = connection.batch_execute("COMMIT").await;
    done.map_err(|e| Fault::of_statement(&e))
}

/// A transaction on its way to the store; there until the first submission of its unit.
pub(crate) struct Held(Mutex<Option<Transaction>>);

impl Held {
    pub(crate) fn take(&self) -> Option<Transaction> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl From<Transaction> for Companion {
    fn from(transaction: Transaction) -> Self {
        Self::new(Held(Mutex::new(Some(transaction))))
    }
}
