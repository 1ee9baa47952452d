//! Recorded units of work: what one attempt was given, what it read, and what it did.
//!
//! A service that records stores one record for each unit, in the unit itself, so a unit and its
//! recording are durable together whatever the store is. [`story`](crate::story) reads and exports
//! them; [`test::replay`](crate::test::replay) runs them again. This module has the stored form and
//! the setting.

mod body;
mod tape;
mod unit;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use wingbeat_core::store::Query;
use wingbeat_core::{CorrelationId, Error, Key, Name, Result, Timestamp, UnitId};

pub use body::Body;
pub(crate) use tape::Tape;
#[cfg(feature = "test")]
pub(crate) use tape::effect;
pub use unit::{
    Appended, Effect, Exchange, Failed, Input, Listed, Outcome, Put, ReadRecord, RecordedMessage,
    RecordedUnit, Sent, Shown,
};

/// The table of recorded units. An id is the correlation id, the time and the id of the unit, so
/// the units of a story are next to each other.
pub(crate) const TABLE: Name = Name::new("wb.recorded");
/// The table of the keys of subjects. They are never recorded: a recording must not make erased
/// values readable.
pub(crate) const SUBJECTS: Name = Name::new("wb.subject");
/// The table of kept replies to HTTP commands, which are no effects of a handler.
const REPLIES: Name = Name::new("wb.idempotency");
/// The table of schedules, whose next run the runtime plans.
const SCHEDULES: Name = Name::new("wb.schedule");
/// The largest recording of a unit, in bytes. A larger one says only that the unit was too large.
pub(crate) const RECORDED_MAX: usize = 512 << 10;
/// The parts into which stories are divided for [`Recording::share`].
const PARTS: u64 = 1_000_000;

/// The stories that the services of an app record, and how long they keep them.
///
/// A recording costs one more record in the commit of a unit. It contains the message, the records
/// that the handler read, and its effects; keys of personal data and messages with personal data
/// are left out. The story is chosen by its correlation id, so all services record the same ones.
/// See `docs/replay.md`.
///
/// ```
/// use std::time::Duration;
///
/// use wingbeat::{App, Recording};
///
/// let one_percent = Recording::share(0.01).keep(Duration::from_secs(6 * 3600));
/// let app = App::new().recording(one_percent);
/// # drop(app);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Recording {
    /// Of [`PARTS`].
    share: u64,
    keep: Duration,
}

impl Recording {
    /// The time for which a recording is kept by default.
    pub const KEEP: Duration = Duration::from_secs(24 * 3600);

    /// Records all stories: for tests, and for systems with little traffic.
    pub fn all() -> Self {
        Self::share(1.0)
    }

    /// Records this share of all stories, from 0 to 1, and every attempt that ends as a dead
    /// letter. With 0 only the latter.
    pub fn share(share: f64) -> Self {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "it is between 0 and a million"
        )]
        let share = (share.clamp(0.0, 1.0) * PARTS as f64).round() as u64;
        Self {
            share,
            keep: Self::KEEP,
        }
    }

    /// Keeps recordings for this time instead of a day.
    pub fn keep(self, keep: Duration) -> Self {
        Self { keep, ..self }
    }

    fn takes(&self, story: CorrelationId) -> bool {
        let (_, random) = story.0.as_u64_pair();
        random % PARTS < self.share
    }
}

/// The recording of a running service.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    pub(crate) recording: Recording,
    /// The message types with personal data, whose bodies are left out.
    pub(crate) personal: Arc<BTreeSet<&'static str>>,
}

impl Recorder {
    /// Returns whether the story of a unit is recorded. Units that fail always are.
    pub(crate) fn takes(&self, story: CorrelationId, failed: bool) -> bool {
        failed || self.recording.takes(story)
    }

    /// Returns the time until which a recording of `at` is kept.
    pub(crate) fn until(&self, at: Timestamp) -> Timestamp {
        at + self.recording.keep
    }
}

/// Returns the key of a recorded unit.
pub(crate) fn key(story: CorrelationId, at: Timestamp, unit: UnitId) -> Key {
    let at = at.as_micros().max(0);
    Key::new(TABLE, format!("{story}/{at:020}/{unit}"))
}

/// Returns the text with which the ids of a story's units begin.
pub(crate) fn prefix(story: CorrelationId) -> String {
    format!("{story}/")
}

/// Returns the name of a query in a recording. Equal queries have equal names.
pub(crate) fn rows_query(query: &Query) -> String {
    let Query {
        view,
        select,
        after,
        limit,
    } = query;
    format!("rows {view} {select:?} {after:?} {limit}")
}

/// Returns the name of a read of one row in a recording.
pub(crate) fn row_query(view: Name, key: &str) -> String {
    format!("row {view} {key}")
}

/// Returns the name of a scan in a recording.
pub(crate) fn scan_query(table: Name, after: Option<&str>, limit: usize) -> String {
    format!("scan {table} {after:?} {limit}")
}

/// Returns whether a record is an effect of the handler, and not of the runtime.
pub(crate) fn is_effect(table: &str) -> bool {
    ![TABLE, REPLIES, SCHEDULES]
        .map(|it| it.as_str())
        .contains(&table)
}

/// Checks that a stored recording can be decoded.
pub(crate) fn check(body: &[u8]) -> Result<()> {
    serde_json::from_slice::<RecordedUnit>(body)
        .map(drop)
        .map_err(|why| Error::reject("undecodable", format!("a recorded unit: {why}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_takes_that_many_stories_and_all_services_take_the_same() {
        let ids = (0..2_000_u64).map(|it| {
            let random = it.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            CorrelationId(uuid::Uuid::from_u64_pair(7, random))
        });
        let taken = |share: f64| {
            let recording = Recording::share(share);
            ids.clone().filter(|it| recording.takes(*it)).count()
        };
        assert_eq!((taken(0.0), taken(1.0)), (0, 2_000));
        assert!((100..300).contains(&taken(0.1)), "{}", taken(0.1));
    }
}
