//! Transactions: those that handlers keep open, and those of commits.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use deadpool_postgres::Object;
use futures_util::FutureExt as _;
use tokio::sync::OwnedSemaphorePermit;
use tokio_postgres::Row;
use wingbeat_core::{Error, OpenTransaction, Params, Result, Statement};

use crate::connector::discard;
use crate::fault::Fault;
use crate::statement::Bound;

/// An open transaction (READ COMMITTED) on its own connection.
///
/// [`Postgres::begin`](crate::Postgres::begin) begins one. Pass it to `Scope::commit_in`: then the
/// unit's inbox row, records and messages are committed in it too. Dropping it rolls it back.
/// Statements and parameters have the same form as for `Scope::sql`.
///
/// # Errors
///
/// All methods fail with:
///
/// - `statement_refused` if PostgreSQL cannot run the statement;
/// - `statement_busy` if the statement waits too long for a lock, conflicts with another
///   transaction or times out;
/// - `store_unavailable` if PostgreSQL is unavailable.
///
/// After an error, the transaction accepts no further statements.
pub struct Transaction {
    /// `None` once it has ended.
    connection: Option<Object>,
    /// Number of statements that have not finished. It stays above zero if a caller stopped waiting
    /// for one.
    unfinished: AtomicUsize,
    /// A statement failed: PostgreSQL would turn COMMIT into a rollback without an error.
    failed: AtomicBool,
    /// The server accepts no writes.
    read_only: AtomicBool,
    permit: OwnedSemaphorePermit,
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Transaction")
    }
}

impl Transaction {
    /// Wraps a connection on which a transaction was begun.
    pub(crate) fn new(connection: Object, permit: OwnedSemaphorePermit) -> Self {
        Self {
            connection: Some(connection),
            unfinished: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
            read_only: AtomicBool::new(false),
            permit,
        }
    }

    /// Returns the pool's permit for this transaction.
    pub(crate) fn permit(&self) -> &OwnedSemaphorePermit {
        &self.permit
    }

    /// Returns whether a statement failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    /// Returns whether a caller stopped waiting for a statement.
    pub(crate) fn is_unfinished(&self) -> bool {
        self.unfinished.load(Ordering::SeqCst) > 0
    }

    /// Notes that the transaction was committed, and returns its connection to the pool.
    pub(crate) fn set_committed(mut self) {
        self.connection = None;
    }

    /// Runs a statement. Returns the number of rows it changed.
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

    /// Runs a query and returns its rows.
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

    /// Runs a query and returns its row; `None` if it has none.
    ///
    /// # Errors
    ///
    /// See [`Transaction`]; `rows_unexpected` (may be retried) if the query returns more than one
    /// row.
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

    /// Runs a query and returns its only row.
    ///
    /// # Errors
    ///
    /// See [`Transaction`]; `rows_unexpected` (may be retried) if the query does not return exactly
    /// one row.
    pub async fn query_one(
        &self,
        text: impl Into<Cow<'static, str>>,
        params: impl Params,
    ) -> Result<Row> {
        let found = self.query_opt(text, params).await?;
        found.ok_or_else(|| unexpected(0))
    }

    /// Runs SQL of the store.
    pub(crate) async fn batch_execute(&self, sql: &str) -> Result<()> {
        self.run(async |connection| {
            let result = connection.batch_execute(sql).await;
            result.map_err(|e| Fault::of(&e))
        })
        .await
    }

    async fn run<T>(
        &self,
        work: impl AsyncFnOnce(&Object) -> std::result::Result<T, Fault>,
    ) -> Result<T> {
        let result = self.with_connection(work).await;
        result.map_err(Fault::in_transaction)
    }

    /// Calls `work` with the transaction's connection.
    pub(crate) async fn with_connection<T>(
        &self,
        work: impl AsyncFnOnce(&Object) -> std::result::Result<T, Fault>,
    ) -> std::result::Result<T, Fault> {
        let connection = self
            .connection
            .as_ref()
            .expect("only `set_committed` and `drop` take it");
        self.unfinished.fetch_add(1, Ordering::SeqCst);
        let result = work(connection).await;
        if !matches!(result, Err(Fault::TimedOut | Fault::Unanswered)) {
            self.unfinished.fetch_sub(1, Ordering::SeqCst);
        }
        self.failed.fetch_or(result.is_err(), Ordering::SeqCst);
        let read_only = matches!(result, Err(Fault::ReadOnly(_)));
        self.read_only.fetch_or(read_only, Ordering::SeqCst);
        result
    }
}

fn unexpected(found: usize) -> Error {
    Error::retry(
        "rows_unexpected",
        format!("the query returned {found} rows, expected 1"),
    )
}

impl Drop for Transaction {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        if self.read_only.load(Ordering::SeqCst) {
            discard(connection);
        } else if self.is_unfinished() {
            // The connection may be busy for long: close it instead of returning it to the pool.
            drop(Object::take(connection));
        } else {
            roll_back(&connection);
        }
    }
}

/// Sends ROLLBACK without waiting. The server processes the requests of a connection in order, so
/// the next user of the connection is outside the transaction.
fn roll_back(connection: &Object) {
    let _ = connection.batch_execute("ROLLBACK").now_or_never();
}

/// An open transaction on a borrowed connection, for the commit of units. Dropping it rolls it
/// back, even if the caller stopped waiting for the commit.
pub(crate) struct CommitTransaction<'a> {
    connection: Option<&'a Object>,
}

impl<'a> CommitTransaction<'a> {
    /// Begins a transaction.
    pub(crate) async fn begin(connection: &'a Object) -> std::result::Result<Self, Fault> {
        let open = Self {
            connection: Some(connection),
        };
        let begun = connection.batch_execute(BEGIN).await;
        begun.map_err(|e| Fault::of(&e)).map(|()| open)
    }

    /// Commits the transaction.
    pub(crate) async fn commit(mut self) -> std::result::Result<(), Fault> {
        if let Some(connection) = self.connection {
            commit(connection).await?;
            self.connection = None;
        }
        Ok(())
    }
}

impl Drop for CommitTransaction<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection {
            roll_back(connection);
        }
    }
}

/// The commit function relies on READ COMMITTED: after it has waited for a lock, its next statement
/// sees what the other transaction committed.
pub(crate) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// Commits the open transaction of a connection. PostgreSQL checks deferred constraints here.
pub(crate) async fn commit(connection: &Object) -> std::result::Result<(), Fault> {
    let committed = connection.batch_execute("COMMIT").await;
    committed.map_err(|e| Fault::of_statement(&e))
}

/// A handler's transaction that a unit brings along. Only the first submission of the unit takes
/// it.
pub(crate) struct HandlerTransaction(Mutex<Option<Transaction>>);

impl HandlerTransaction {
    /// Takes the transaction; `None` if an earlier submission did.
    pub(crate) fn take(&self) -> Option<Transaction> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl From<Transaction> for OpenTransaction {
    fn from(transaction: Transaction) -> Self {
        Self::new(HandlerTransaction(Mutex::new(Some(transaction))))
    }
}
