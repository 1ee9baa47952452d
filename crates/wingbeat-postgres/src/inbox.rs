//! Rows of the inbox: each records a delivery that was settled, or a unit that was committed.

use std::time::Duration;

use uuid::Uuid;
use wingbeat_core::ids::uuid_v7;
use wingbeat_core::unit::Settled;
use wingbeat_core::{Name, Timestamp, Unit, sabotage};

/// Maximum difference between the time in an id and the time of the unit. Beyond it, the row gets a
/// time of its own.
const ID_TIME_MAX_DIFFERENCE: Duration = Duration::from_secs(3600);

/// The scope of rows that record a unit instead of a delivery.
pub(crate) const UNIT_SCOPE: &str = "";

/// Returns the scope of the rows for deliveries from one publisher through one queue.
pub(crate) fn scope(queue: Name, source: &str) -> String {
    format!("{queue} {source}")
}

/// Returns the deliveries that a unit's rows record.
pub(crate) fn settled(unit: &Unit) -> &[Settled] {
    if sabotage::lacks(sabotage::INBOX) {
        return &[];
    }
    &unit.settles
}

/// Returns id and scope of a delivery's row.
pub(crate) fn key(settled: &Settled) -> (Uuid, String) {
    (settled.message.0, scope(settled.queue, &settled.source))
}

/// Returns ids and scopes of a unit's rows: those of the deliveries that it settles, or else its
/// own.
pub(crate) fn keys(unit: &Unit) -> Vec<(Uuid, String)> {
    match settled(unit) {
        [] => vec![(unit.id.0, UNIT_SCOPE.to_owned())],
        settled => settled.iter().map(key).collect(),
    }
}

/// Returns the statement that finds those of the rows with the ids `$1` and the scopes `$2` that
/// exist, with the units that they name.
pub(crate) fn finding(schema: &str) -> String {
    // The limit keeps the planner from a join, for which it might read the whole inbox.
    format!(
        "SELECT u.id, u.scope, b.unit FROM unnest($1::uuid[], $2::text[]) AS u(id, scope),
         LATERAL (SELECT i.unit FROM {schema}.inbox i
             WHERE i.id = u.id AND i.scope = u.scope LIMIT 1) AS b"
    )
}

/// Returns the time of a row, unless its id contains that time (a UUID of version 7).
pub(crate) fn time(id: Uuid, at: Timestamp) -> Option<i64> {
    let earliest = uuid_v7(at - ID_TIME_MAX_DIFFERENCE, 0);
    let latest = uuid_v7(at + ID_TIME_MAX_DIFFERENCE, u64::MAX);
    let is_in_id = id.get_version_num() == 7 && id > earliest && id < latest;
    (!is_in_id).then_some(at.as_micros())
}
