//! One attempt to commit a segment, and its timeouts.
//!
//! Timeouts apply per attempt, not per batch. How long a batch takes depends on the statements of
//! its units. If a batch could time out as a whole, its units would be submitted again together,
//! and would time out again.

use deadpool_postgres::Object;

use super::call::Target;
use super::segment::Segment;
use crate::connector::discard;
use crate::fault::Fault;
use crate::pool::Pool;
use crate::statement;
use crate::transaction::CommitTransaction;

/// The refused groups of an attempt.
pub(super) type Refused = Result<Vec<i32>, Fault>;

/// The connection of a batch. After a timeout, the connection is closed, and the next use opens
/// another one.
pub(super) struct BatchConnection<'a> {
    pool: &'a Pool,
    connection: Option<Object>,
}

impl<'a> BatchConnection<'a> {
    pub(super) fn new(pool: &'a Pool, connection: Object) -> Self {
        let connection = Some(connection);
        Self { pool, connection }
    }

    /// Calls `work` with the connection.
    pub(super) async fn with<T>(
        &mut self,
        work: impl AsyncFnOnce(&Object) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                let connection = self.pool.get().await;
                connection.map_err(|e| Fault::Unavailable(e.to_string()))?
            }
        };
        let result = work(&connection).await;
        match &result {
            Err(Fault::Unanswered | Fault::ReadOnly(_)) => discard(connection),
            Err(Fault::TimedOut) => {
                // The running statement would keep its locks until it ends.
                let running = connection.cancel_token();
                drop(Object::take(connection));
                let cancelled = async { Ok(self.pool.cancel(&running).await) };
                let cancelled = self.pool.with_timeout(cancelled).await;
                tracing::debug!(?cancelled, "cancelled statements that timed out");
            }
            _ => self.connection = Some(connection),
        }
        result
    }
}

/// Commits segments.
#[derive(Clone, Copy)]
pub(super) struct Committer<'a> {
    pub(super) target: &'a Target<'a>,
    /// Statements get a reduced lock timeout.
    pub(super) reduced_lock_timeout: bool,
}

impl Committer<'_> {
    /// Commits a segment. A call is a transaction; with statements, the call and the statements run
    /// in an explicit one.
    pub(super) async fn commit(self, connection: &Object, segment: &Segment<'_>) -> Refused {
        let Target { pool, .. } = self.target;
        if !segment.has_statements() {
            let call = self.target.call(connection, segment);
            return pool.with_timeout(call).await;
        }
        let transaction = pool
            .with_timeout(CommitTransaction::begin(connection))
            .await?;
        let refused = self.run(connection, segment).await?;
        pool.with_timeout(transaction.commit()).await?;
        Ok(refused)
    }

    /// Runs the call, and the statements of the units that it does not refuse, in the connection's
    /// open transaction. Nothing takes effect before COMMIT.
    pub(super) async fn run(self, connection: &Object, segment: &Segment<'_>) -> Refused {
        let Target { pool, .. } = self.target;
        let call = self.target.call(connection, segment);
        let refused = pool.with_timeout(call).await?;
        if !segment.has_statements() {
            return Ok(refused);
        }
        let set = pool.set_lock_timeout(connection, self.reduced_lock_timeout);
        pool.with_timeout(set).await?;
        let (accepted, _) = segment.partition(&refused);
        let statements = async {
            for unit in accepted {
                statement::run(connection, segment.units[unit]).await?;
            }
            Ok(())
        };
        let run = pool.with_timeout(statements).await;
        run.map_err(Fault::before_commit)?;
        Ok(refused)
    }
}
