//! The call of the commit function, and queries of the inbox.

use std::time::Duration;

use deadpool_postgres::Object;
use tokio_postgres::types::ToSql;
use uuid::Uuid;
use wingbeat_core::unit::Outcome;
use wingbeat_core::{Name, Timestamp, Unit};

use super::arrays::Arrays;
use super::segment::Segment;
use crate::fault::Fault;
use crate::inbox::{self, UNIT_SCOPE};
use crate::layout::COMMIT_NAME;
use crate::places::Places;
use crate::pool::Pool;

/// Retention of the row of a removed record: longer than any attempt of a handler that may have
/// read the record.
const TOMBSTONE_RETENTION: Duration = Duration::from_secs(3_600);

/// Number of parameters before the arrays.
const BEFORE_ARRAYS: usize = 3;
/// Number of parameters after the arrays.
const AFTER_ARRAYS: usize = 2;

/// Where and how a batch is committed.
pub(crate) struct Target<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) schema: &'a str,
    /// Separates the advisory locks of this schema from those of other schemas.
    pub(crate) lock_namespace: i32,
    /// See [`statement`].
    pub(crate) commit: &'a str,
    /// The row of each counter that this process adds to.
    pub(crate) counter_row: i16,
    pub(crate) now: Timestamp,
    /// Lease of the messages that the caller claims, in microseconds; `None` to claim none.
    pub(crate) lease: Option<i64>,
    /// The places of claimed messages in the outbox.
    pub(crate) places: &'a Places,
    pub(crate) service: Name,
}

/// Returns the statement that calls the commit function of a schema.
pub(crate) fn statement(schema: &str) -> String {
    let count = BEFORE_ARRAYS + Arrays::default().parameters().len() + AFTER_ARRAYS;
    let parameters: Vec<String> = (1..=count).map(|n| format!("${n}")).collect();
    let parameters = parameters.join(",");
    format!("SELECT refused, places, placed FROM {schema}.{COMMIT_NAME}({parameters})")
}

impl Target<'_> {
    /// Calls the commit function. Returns the groups that it refused.
    pub(super) async fn call(
        &self,
        connection: &Object,
        segment: &Segment<'_>,
    ) -> Result<Vec<i32>, Fault> {
        let tombstone = self.now + TOMBSTONE_RETENTION;
        let mut arrays = segment.arrays(tombstone);
        let (lanes, tombstone) = (arrays.take_lanes(), tombstone.as_micros());
        let before: [&(dyn ToSql + Sync); BEFORE_ARRAYS] =
            [&self.lock_namespace, &self.counter_row, &lanes];
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
        self.places.insert(self.service, found);
        Ok(row.get(0))
    }

    /// Fences off a unit without a delivery, so that it cannot be committed any more. Returns
    /// `false` if the unit is in the inbox already. Waits for another connection that is committing
    /// the unit.
    pub(super) async fn fence(&self, connection: &Object, unit: &Unit) -> Result<bool, Fault> {
        // The row of a committed unit has no value in the column `unit`.
        let sql = format!(
            "INSERT INTO {}.inbox(id, scope, unit, at) VALUES ($1, $2, $1, $3)
             ON CONFLICT DO NOTHING",
            self.schema
        );
        let time = inbox::time(unit.id.0, unit.at);
        let inserted = connection
            .execute(&sql, &[&unit.id.0, &UNIT_SCOPE, &time])
            .await;
        inserted.map(|rows| rows == 1).map_err(|e| Fault::of(&e))
    }

    /// Returns the outcome of a unit that was committed or fenced off before, or one of whose
    /// deliveries was settled by another unit.
    pub(super) async fn earlier_outcome(
        &self,
        connection: &Object,
        unit: &Unit,
    ) -> Result<Option<Outcome>, Fault> {
        let deliveries = unit.settles.iter().map(inbox::key);
        let own = (unit.id.0, UNIT_SCOPE.to_owned());
        let (ids, scopes): (Vec<_>, Vec<_>) = deliveries.chain([own]).unzip();
        let find = async {
            let sql = inbox::finding(self.schema);
            let statement = connection.prepare_cached(&sql).await?;
            connection.query(&statement, &[&ids, &scopes]).await
        };
        let rows = find.await.map_err(|e| Fault::of(&e))?;
        let mut earlier = None;
        for row in rows {
            let (scope, by): (&str, Option<Uuid>) = (row.get(1), row.get(2));
            match by {
                None if scope == UNIT_SCOPE => return Ok(Some(Outcome::Committed)),
                Some(_) if scope == UNIT_SCOPE => return Ok(Some(Outcome::Stale)), // fenced off
                // The unit has settled all of its deliveries together.
                by if by.is_none_or(|by| by == unit.id.0) => earlier = Some(Outcome::Committed),
                _ => earlier = Some(Outcome::Duplicate),
            }
        }
        Ok(earlier)
    }
}
