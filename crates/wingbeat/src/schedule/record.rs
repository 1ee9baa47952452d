//! The stored state of a schedule.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use wingbeat_core::unit::Write;
use wingbeat_core::{Key, Name, Timestamp};

use crate::encode;
use crate::unit::OwnTable;

/// The table of schedules; ids are their names.
pub(crate) const SCHEDULES: Name = Name::new("wb.schedule");

/// Schedules, for the verification of what is stored.
pub(crate) const STORED: OwnTable = OwnTable::of::<ScheduleRecord>(SCHEDULES);

/// The stored state of a schedule. It is due at `due`, unless it is paused.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ScheduleRecord {
    /// The text of the plan that computed `tick`.
    pub(super) plan: String,
    /// The planned time of the next run.
    pub(super) tick: Timestamp,
    /// The time at which an operator paused the schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) paused: Option<Timestamp>,
    /// Failed attempts at the next run.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) failures: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last: Option<LastRun>,
}

/// The last run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LastRun {
    /// The planned time.
    pub(super) tick: Timestamp,
    /// The time of the attempt.
    pub(super) at: Timestamp,
    /// The code of the error with which it failed, or `skipped`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) failed: Option<String>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
const fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl ScheduleRecord {
    /// A schedule whose first run is planned at `tick`.
    pub(super) fn new(plan: &str, tick: Timestamp) -> Self {
        Self {
            plan: plan.to_owned(),
            tick,
            paused: None,
            failures: 0,
            last: None,
        }
    }

    /// Returns the write that stores this state, due at `due` unless it is paused.
    pub(super) fn write(&self, key: Key, due: Timestamp) -> Write {
        let body: Bytes = encode(self);
        Write {
            key,
            body: Some(body),
            due_at: self.paused.is_none().then_some(due),
            expires_at: None,
        }
    }
}

/// Returns the key of a schedule.
pub(super) fn key(name: &str) -> Key {
    Key::new(SCHEDULES, name)
}
