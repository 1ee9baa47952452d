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

/// Returns the delivery that a unit's row records.
pub(crate) fn settled(unit: &Unit) -> Option<&Settled> {
    let forget = sabotage::lacks(sabotage::INBOX);
    unit.settles.as_ref().filter(|_| !forget)
}

/// Returns id and scope of a unit's row: those of the delivery that it settles, or else its own.
pub(crate) fn key(unit: &Unit) -> (Uuid, String) {
    match settled(unit) {
        Some(settled) => (settled.message.0, scope(settled.queue, &settled.source)),
        None => (unit.id.0, UNIT_SCOPE.to_owned()),
    }
}

/// Returns the time of a row, unless its id contains that time (a UUID of version 7).
pub(crate) fn time(id: Uuid, at: Timestamp) -> Option<i64> {
    let earliest = uuid_v7(at - ID_TIME_MAX_DIFFERENCE, 0);
    let latest = uuid_v7(at + ID_TIME_MAX_DIFFERENCE, u64::MAX);
    let is_in_id = id.get_version_num() == 7 && id > earliest && id < latest;
    (!is_in_id).then_some(at.as_micros())
}
