//! The result of a replay, for people.

use std::fmt;

use serde_json::Value;
use wingbeat_core::{CorrelationId, Timestamp};

use super::compare::Compared;
use crate::recording::{Input, RecordedUnit};

/// The longest value in a line of a report.
const SHOWN_MAX: usize = 200;

/// The result of replaying a story.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// The story.
    pub story: CorrelationId,
    /// The number of recorded units.
    pub units: usize,
    /// The number of units that ran again.
    pub replayed: usize,
    /// The units that could not run again.
    pub skipped: Vec<Skipped>,
    /// The differences, in the order of the story.
    pub differences: Vec<Difference>,
}

/// A unit that could not run again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Skipped {
    /// The number of the unit in its story, beginning with 1.
    pub unit: usize,
    /// The service.
    pub service: String,
    /// The input, for display.
    pub input: String,
    /// The reason.
    pub why: String,
}

/// One difference between what a unit did and what it does now.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Difference {
    /// The number of the unit in its story, beginning with 1.
    pub unit: usize,
    /// The time of the unit.
    pub at: Timestamp,
    /// The service.
    pub service: String,
    /// The input, for display.
    pub input: String,
    /// The effect, and the path in it.
    pub what: String,
    /// The recorded value; `None` if there was none.
    pub recorded: Option<Value>,
    /// The value now; `None` if there is none.
    pub now: Option<Value>,
}

impl Difference {
    pub(super) fn new(number: usize, unit: &RecordedUnit, found: Compared) -> Self {
        Self {
            unit: number,
            at: unit.at,
            service: unit.service.clone(),
            input: label(&unit.input),
            what: found.what,
            recorded: found.recorded,
            now: found.now,
        }
    }
}

impl Report {
    pub(super) fn new(story: CorrelationId) -> Self {
        Self {
            story,
            units: 0,
            replayed: 0,
            skipped: Vec::new(),
            differences: Vec::new(),
        }
    }

    /// Checks that nothing differs.
    ///
    /// # Panics
    ///
    /// With the differences, if there are any; if no unit could be replayed.
    pub fn assert_same(&self) {
        assert!(self.differences.is_empty(), "{self}");
        assert!(self.replayed > 0, "no unit could be replayed: {self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (replayed, units) = (self.replayed, self.units);
        let count = self.differences.len();
        let differences = if count == 1 {
            "1 difference".to_owned()
        } else {
            format!("{count} differences")
        };
        write!(
            f,
            "story {}: {replayed} of {units} units replayed, {differences}",
            self.story
        )?;
        let mut last = 0;
        for it in &self.differences {
            if it.unit != last {
                write!(
                    f,
                    "\n  unit {} at {}: {}, {}",
                    it.unit, it.at, it.service, it.input
                )?;
                last = it.unit;
            }
            write!(f, "\n    {}: ", it.what)?;
            match (&it.recorded, &it.now) {
                (Some(then), Some(now)) => {
                    write!(f, "recorded {}, now {}", shown(then), shown(now))?
                }
                (Some(then), None) => write!(f, "recorded {}, now nothing", shown(then))?,
                (None, Some(now)) => write!(f, "recorded nothing, now {}", shown(now))?,
                (None, None) => write!(f, "unknown")?,
            }
        }
        Ok(())
    }
}

fn shown(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Returns what a unit was given, for display.
pub(super) fn label(input: &Input) -> String {
    match input {
        Input::Messages { queue, messages } => match messages.as_slice() {
            [one] => format!("{queue} handles {} of {}", one.kind, one.key),
            all => format!("{queue} handles {} messages", all.len()),
        },
        Input::Schedule { name, .. } => format!("schedule {name}"),
        Input::Call { name, attempts, .. } => format!("call {name}, attempt {}", attempts + 1),
        Input::Request { route } => format!("request {route}"),
    }
}
