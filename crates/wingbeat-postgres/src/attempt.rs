//! One attempt to commit a segment, and how long it may take.
//!
//! Patience is measured by the attempt and not by the batch: how long a batch takes depends on the statements of
//! its units, and a batch that were given up as a whole would be submitted again with the same units, for ever.

use deadpool_postgres::Object;
use tokio_postgres::NoTls;

use crate::call::Target;
use crate::fault::Fault;
use crate::pool::Pool;
use crate::segment::Segment;
use crate::statement;
use crate::transaction::Begun;

/// The groups that were refused.
pub(crate) type Attempt = std::result::Result<Vec<i32>, Fault>;

/// The connection of a batch. One on which an answer did not come in time is given up, and replaced when the next is
/// needed.
pub(crate) struct Line<'a> {
    pool: &'a Pool,
    connection: Option<Object>,
}

impl<'a> Line<'a> {
    pub(crate) fn new(pool: &'a Pool, connection: Object) -> Self {
        let connection = Some(connection);
        Self { pool, connection }
    }

    /// Does something on it.
    pub(crate) async fn on<T>(
        &mut self,
        work: impl AsyncFnOnce(&Object) -> std::result::Result<T, Fault>,
    ) -> std::result::Result<T, Fault> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self
                .pool
                .get()
                .await
                .map_err(|e| Fault::Away(e.to_string()))?,
        };
        let done = work(&connection).await;
        match &done {
            Err(Fault::Silent) => drop(Object::take(connection)),
            Err(Fault::Late) => {
                // Its locks would stay until the statement that runs has ended.
                let running = connection.cancel_token();
                drop(Object::take(connection));
                let cancelled = running.cancel_query(NoTls);
                let cancelled = self.pool.patiently(async { Ok(cancelled.await) }).await;
                tracing::debug!(?cancelled, "statements that took too long were given up");
            }
            _ => self.connection = Some(connection),
        }
        done
    }
}

/// How segments are committed.
#[derive(Clone, Copy)]
pub(crate) struct Work<'a> {
    pub(crate) target: &'a Target<'a>,
    pub(crate) hurried: bool,
}

impl Work<'_> {
    /// One call, which is a transaction; in an explicit one if there are statements.
    pub(crate) async fn attempt(self, connection: &Object, segment: &Segment<'_>) -> Attempt {
        let Target { pool, .. } = self.target;
        if !segment.has_statements() {
            let call = self.target.call(connection, segment);
            return pool.patiently(call).await;
        }
        let begun = pool.patiently(Begun::new(connection)).await?;
        let refused = self.run(connection, segment).await?;
        pool.patiently(begun.commit()).await?;
        Ok(refused)
    }

    /// The call, and the statements of what was not refused, in a transaction that is open. Nothing of it takes effect
    /// before its COMMIT.
    pub(crate) async fn run(self, connection: &Object, segment: &Segment<'_>) -> Attempt {
        let Target { pool, .. } = self.target;
        let refused = pool
            .patiently(self.target.call(connection, segment))
            .await?;
        if !segment.has_statements() {
            return Ok(refused);
        }
        let limit = pool.limit(connection, self.hurried);
        pool.patiently(limit).await?;
        let (taken, _) = segment.parted(&refused);
        let statements = async {
            for unit in taken {
                statement::run(connection, segment.units[unit]).await?;
            }
            Ok(())
        };
        let done = pool.patiently(statements).await;
        done.map_err(Fault::before_commit)?;
        Ok(refused)
    }
}
