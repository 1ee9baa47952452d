//! The call that commits.

use std::time::Duration;

use deadpool_postgres::Object;
use tokio_postgres::types::ToSql;
use uuid::Uuid;
use wingbeat_core::unit::Outcome;
use wingbeat_core::{Name, Timestamp, Unit};

use crate::arrays::Arrays;
use crate::fault::Fault;
use crate::outbox::Places;
use crate::pool::Pool;
use crate::segment::{Segment, scope, undated};

/// How long the row of a removed record stays: longer than any attempt of a handler that may have read it.
const TOMBSTONE: Duration = Duration::from_secs(3_600);

/// Parameters around the arrays.
const BEFORE_ARRAYS: usize = 3;
const AFTER_ARRAYS: usize = 2;

/// Where units are committed: what a call needs to know beside them.
pub(crate) struct Target<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) schema: &'a str,
    /// Tells the advisory locks of one schema from another's.
    pub(crate) namespace: i32,
    /// See [`statement`].
    pub(crate) commit: &'a str,
    /// Which of a counter's rows this process adds to.
    pub(crate) lane: i16,
    pub(crate) now: Timestamp,
    /// For how long the messages are the caller's to publish, in microseconds.
    pub(crate) lease: Option<i64>,
    /// Where claimed messages lie.
    pub(crate) places: &'a Places,
    pub(crate) service: Name,
}

/// What calls the function of a schema.
pub(crate) fn statement(schema: &str) -> String {
    let count = BEFORE_ARRAYS + Arrays::default().parameters().len() + AFTER_ARRAYS;
    let places: Vec<String> = (1..=count).map(|n| format!("${n}")).collect();
    let places = places.join(",");
    format!("SELECT refused, places, placed FROM {schema}.commit_v2({places})")
}

impl Target<'_> {
    /// One call; the groups that were refused.
    pub(crate) async fn call(
        &self,
        connection: &Object,
        segment: &Segment<'_>,
    ) -> std::result::Result<Vec<i32>, Fault> {
        let tombstone = self.now + TOMBSTONE;
        let mut arrays = segment.arrays(tombstone);
        let (lanes, tombstone) = (arrays.lanes(), tombstone.as_micros());
        let before: [&(dyn ToSql + Sync); BEFORE_ARRAYS] = [&self.namespace, &self.lane, &lanes];
        let after: [&(dyn ToSql + Sync); AFTER_ARRAYS] = [&tombstone, &self.lease];
        let parameters = [&before, &arrays.parameters()[..], &after].concat();
        let statement = connection
            .prepare_cached(self.commit)
            .await
            .map_err(|e| Fault::of(&e))?;
        let row = connection
            .query_one(&statement, &parameters)
            .await
            .map_err(|e| Fault::of(&e))?;
        let places: Option<Vec<i64>> = row.get(1);
        let placed: Option<Vec<Uuid>> = row.get(2);
        let found = placed
            .into_iter()
            .flatten()
            .zip(places.into_iter().flatten());
        self.places.note(self.service, found);
        Ok(row.get(0))
    }

    /// Remembers that a unit which settles nothing is not to be committed any more; whether it was not known. One that
    /// is being committed elsewhere is waited for.
    pub(crate) async fn remember(
        &self,
        connection: &Object,
        unit: &Unit,
    ) -> std::result::Result<bool, Fault> {
        // A unit that was committed leaves its row without the column `unit`: so the two can be told apart.
        let sql = format!(
            "INSERT INTO {}.inbox(id, scope, unit, at) VALUES ($1, '', $1, $2) ON CONFLICT DO NOTHING",
            self.schema
        );
        let at = undated(unit.id.0, unit.at);
        let done = connection.execute(&sql, &[&unit.id.0, &at]).await;
        done.map(|rows| rows == 1).map_err(|e| Fault::of(&e))
    }

    /// What is known of a unit that was here before, or of its delivery.
    pub(crate) async fn known(
        &self,
        connection: &Object,
        unit: &Unit,
    ) -> std::result::Result<Option<Outcome>, Fault> {
        let ask = format!(
            "SELECT unit FROM {}.inbox WHERE id = $1 AND scope = $2",
            self.schema
        );
        let statement = connection.prepare_cached(&ask).await;
        let statement = statement.map_err(|e| Fault::of(&e))?;
        let find =
            async |id: &Uuid, scope: &str| -> std::result::Result<Option<Option<Uuid>>, Fault> {
                let row = connection.query_opt(&statement, &[id, &scope]).await;
                Ok(row.map_err(|e| Fault::of(&e))?.map(|row| row.get(0)))
            };
        if let Some(mark) = find(&unit.id.0, "").await? {
            // With a mark it was not committed, and is not to be: see `remember`.
            return Ok(Some(match mark {
                None => Outcome::Committed,
                Some(_) => Outcome::Stale,
            }));
        }
        let Some(settled) = &unit.settles else {
            return Ok(None);
        };
        let by = find(&settled.message.0, &scope(settled)).await?;
        let is_ours = |by: Option<Uuid>| by.is_none_or(|by| by == unit.id.0);
        Ok(by.map(|by| match is_ours(by) && settled.done {
            true => Outcome::Committed,
            false => Outcome::Duplicate,
        }))
    }
}
