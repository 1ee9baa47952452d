//! The state of a redrive: many dead letters that are handled again, a canary first.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wingbeat_core::store::Position;
use wingbeat_core::text::printable;
use wingbeat_core::unit::Write;
use wingbeat_core::{Error, Key, Name, Result, Timestamp};

use super::action::Decision;
use super::summary::Summary;
use crate::encode;
use crate::unit::OwnTable;

/// The table of redrives. One in progress is due at its next step.
pub(crate) const REDRIVES: Name = Name::new("wb.redrive");
/// The time for which a redrive that has ended is kept.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// The longest text of an error, in bytes.
const ERROR_MAX: usize = 300;
/// The default rate, in dead letters a second.
const RATE: u32 = 100;
/// The pause between two steps of a redrive.
const STEP: Duration = Duration::from_millis(200);

/// Redrives, for the verification of what is stored.
pub(crate) const STORED: OwnTable = OwnTable::of::<Redrive>(REDRIVES);

/// The dead letters of a service to handle again, and how. Fields that are `None` select all.
///
/// ```
/// use wingbeat::app::Selection;
///
/// let mut selection = Selection::default();
/// selection.reason = Some("undecodable".into());
/// selection.rate = 500;
/// assert!(selection.check().is_ok());
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Selection {
    /// The group.
    pub group: Option<String>,
    /// The queue that they came from.
    pub subscription: Option<String>,
    /// The message type.
    pub kind: Option<String>,
    /// The error code.
    pub reason: Option<String>,
    /// The key of the message.
    pub key: Option<String>,
    /// A part of the error message.
    pub error: Option<String>,
    /// Only those that were retried at most this number of times.
    pub retries_max: Option<u32>,
    /// The dead letters a second, from 1 to 1,000.
    pub rate: u32,
    /// The number of failures that do not stop it. The failure of the canary always does.
    pub tolerate: u32,
}

impl Default for Selection {
    fn default() -> Self {
        Self {
            group: None,
            subscription: None,
            kind: None,
            reason: None,
            key: None,
            error: None,
            retries_max: None,
            rate: RATE,
            tolerate: 0,
        }
    }
}

impl Selection {
    /// The highest rate, in dead letters a second.
    pub const RATE_MAX: u32 = 1_000;
    /// The largest number of failures that can be tolerated.
    pub const TOLERATE_MAX: u32 = 1_000;

    /// Checks the numbers.
    ///
    /// # Errors
    ///
    /// `bad_selection` if one is out of bounds.
    pub fn check(&self) -> Result<()> {
        let text = if !(1..=Self::RATE_MAX).contains(&self.rate) {
            "the rate must be from 1 to 1000"
        } else if self.tolerate > Self::TOLERATE_MAX {
            "at most 1000 failures can be tolerated"
        } else {
            return Ok(());
        };
        Err(Error::reject("bad_selection", text))
    }

    /// Returns whether a dead letter is selected.
    pub(super) fn matches(&self, letter: &Summary) -> bool {
        let is = |wanted: &Option<String>, found: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == found)
        };
        is(&self.subscription, &letter.subscription)
            && is(&self.kind, &letter.kind)
            && is(&self.reason, &letter.reason)
            && self.key.as_deref().is_none_or(|key| letter.has_key(key))
            && self
                .error
                .as_deref()
                .is_none_or(|part| letter.error.contains(part))
            && self.retries_max.is_none_or(|most| letter.retries <= most)
    }

    /// Returns the dead letters of one step, and the pause after it.
    pub(super) fn step(&self) -> (usize, Duration) {
        let rate = self.rate.clamp(1, Self::RATE_MAX);
        let steps = u32::try_from(1_000 / STEP.as_millis()).unwrap_or(1);
        if rate < steps {
            return (1, Duration::from_secs(1) / rate);
        }
        let letters = rate / steps;
        (letters as usize, Duration::from_secs(1) * letters / rate)
    }
}

/// The state of a redrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RedriveState {
    /// The first dead letter is being handled; the others wait for it.
    Canary,
    /// The others follow at the rate.
    Running,
    /// All were delivered; the last one is being handled.
    Settling,
    /// All were handled.
    Done,
    /// It has stopped because one failed again. The rest are dead letters as before.
    Stopped,
    /// A person has stopped it.
    Cancelled,
}

/// Many dead letters that are handled again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Redrive {
    /// Its id.
    pub id: Uuid,
    /// The dead letters.
    pub selection: Selection,
    /// The state.
    pub state: RedriveState,
    /// The person or program that began it.
    pub by: String,
    /// The reason that was given.
    pub why: String,
    /// The time at which it began. Later dead letters are not part of it.
    pub began: Timestamp,
    /// The time at which it ended.
    pub ended: Option<Timestamp>,
    /// The dead letters that were delivered.
    pub sent: u64,
    /// Those that failed again, until it stopped.
    pub failed: u64,
    /// Those that were passed over: no subscription takes them, or their messages are unreadable.
    pub skipped: u64,
    /// The dead letter that failed last, and its error.
    pub last_failure: Option<(Uuid, String)>,
    /// The position in the index.
    #[serde(default)]
    pub(super) after: Option<Position>,
    /// The parked delivery without which it goes on.
    #[serde(default)]
    pub(super) awaited: Option<String>,
    /// The record of the delivery that was made last, and the time.
    #[serde(default)]
    pub(super) latest: Option<String>,
    pub(super) sent_at: Timestamp,
    /// The time of the next step.
    pub(super) next: Timestamp,
}

impl Redrive {
    pub(super) fn new(id: Uuid, selection: Selection, by: &Decision, now: Timestamp) -> Self {
        Self {
            id,
            selection,
            state: RedriveState::Canary,
            by: by.by.clone(),
            why: by.why.clone(),
            began: now,
            ended: None,
            sent: 0,
            failed: 0,
            skipped: 0,
            last_failure: None,
            after: None,
            awaited: None,
            latest: None,
            sent_at: now,
            next: now,
        }
    }

    /// Returns whether it has not ended.
    #[must_use]
    pub fn is_active(&self) -> bool {
        use RedriveState::{Canary, Running, Settling};
        matches!(self.state, Canary | Running | Settling)
    }

    /// Ends it.
    pub(super) fn end(&mut self, state: RedriveState, now: Timestamp) {
        self.state = state;
        self.ended = Some(now);
        self.awaited = None;
    }

    /// Counts a dead letter that failed again. Returns whether that stops it.
    pub(super) fn fail(&mut self, letter: Uuid, error: &str, now: Timestamp) -> bool {
        self.failed += 1;
        self.last_failure = Some((letter, printable(error, ERROR_MAX)));
        let stops =
            self.state == RedriveState::Canary || self.failed > u64::from(self.selection.tolerate);
        if stops {
            self.end(RedriveState::Stopped, now);
        }
        stops
    }

    pub(super) fn write(&self) -> Write {
        Write {
            key: redrive_key(self.id),
            body: Some(encode(self)),
            due_at: self.is_active().then_some(self.next),
            expires_at: self.ended.map(|ended| ended + KEPT),
        }
    }
}

pub(super) fn redrive_key(id: Uuid) -> Key {
    Key::new(REDRIVES, id.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(rate: u32) -> Selection {
        Selection {
            rate,
            ..Selection::default()
        }
    }

    #[test]
    fn steps_keep_to_the_rate() {
        for rate in [1, 3, 5, 7, 100, 499, 500, 1_000] {
            let (letters, pause) = at(rate).step();
            let per_second = letters as f64 / pause.as_secs_f64();
            assert!(
                (per_second - f64::from(rate)).abs() < 0.01,
                "{rate}: {per_second}"
            );
            assert!(letters <= 200 && pause <= Duration::from_secs(1));
        }
    }

    #[test]
    fn rates_out_of_bounds_are_refused() {
        for rate in [0, 1_001] {
            assert_eq!(at(rate).check().unwrap_err().code(), "bad_selection");
        }
        assert!(at(1_000).check().is_ok());
    }

    #[test]
    fn the_failure_of_the_canary_always_stops() {
        let selection = Selection {
            tolerate: 1,
            ..Selection::default()
        };
        let by = Decision::by("ada");
        let now = Timestamp::default();
        let new = || Redrive::new(Uuid::nil(), selection.clone(), &by, now);
        let mut canary = new();
        assert!(canary.fail(Uuid::nil(), "it fails", now));
        assert_eq!(canary.state, RedriveState::Stopped);
        let mut running = Redrive {
            state: RedriveState::Running,
            ..new()
        };
        assert!(!running.fail(Uuid::nil(), "it fails", now));
        assert!(running.fail(Uuid::nil(), "it fails", now));
        assert_eq!((running.failed, running.is_active()), (2, false));
    }
}
