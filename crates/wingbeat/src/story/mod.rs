//! Recorded stories: export of what the services of a running app have recorded.
//!
//! A [`Story`] is one JSON file with all that a replay needs. `export` reads it from the stores,
//! adds the histories of aggregates, and masks personal data. `docs/replay.md` describes the
//! format.

mod export;
#[cfg(feature = "personal")]
mod mask;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wingbeat_core::{CorrelationId, Error, MessageId, Result, Timestamp};

use crate::recording::{Body, Input, Outcome, RecordedUnit};

pub(crate) use export::export;
#[cfg(all(feature = "personal", feature = "test"))]
pub(crate) use mask::opened;

/// The format of stories that this release writes and reads.
pub const FORMAT: u32 = 1;

/// A recorded story, or the part of it that ended as one dead letter.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Story {
    /// The format of this file: [`FORMAT`].
    pub format: u32,
    /// The correlation id.
    pub correlation: CorrelationId,
    /// The recorded units, in the order of time.
    pub units: Vec<RecordedUnit>,
    /// The histories of the aggregates that the units read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub histories: Vec<History>,
    /// Services that did not answer: their units are missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub away: Vec<String>,
}

/// The history of an aggregate, up to the last event that a unit of the story could read.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct History {
    /// The service.
    pub service: String,
    /// The type of the aggregate.
    pub table: String,
    /// The id of the aggregate.
    pub id: String,
    /// The events in order, beginning with the first: time and content.
    pub events: Vec<(Timestamp, Body)>,
}

impl Story {
    /// Creates an empty story.
    #[must_use]
    pub fn new(correlation: CorrelationId) -> Self {
        Self {
            format: FORMAT,
            correlation,
            units: Vec::new(),
            histories: Vec::new(),
            away: Vec::new(),
        }
    }

    /// Decodes a file.
    ///
    /// # Errors
    ///
    /// `story_unreadable` if it is no story, or one of a newer format.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let unreadable = |why: String| Error::reject("story_unreadable", why);
        let head: Head =
            serde_json::from_slice(bytes).map_err(|why| unreadable(why.to_string()))?;
        if head.format != FORMAT {
            let text = format!(
                "the story has format {}, and this release reads format {FORMAT}",
                head.format
            );
            return Err(unreadable(text));
        }
        serde_json::from_slice(bytes).map_err(|why| unreadable(why.to_string()))
    }

    /// Encodes the story as a file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("all keys are strings")
    }

    /// Returns whether nothing was recorded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.units.is_empty()
    }

    /// Adds the part of another process.
    pub fn merge(&mut self, other: Self) {
        self.units.extend(other.units);
        self.histories.extend(other.histories);
        self.away.extend(other.away);
        self.sort();
    }

    /// Keeps only the attempts that ended as this dead letter.
    #[must_use]
    pub fn of_dead_letter(mut self, message: MessageId) -> Self {
        self.units.retain(|unit| {
            let failed = matches!(unit.outcome, Outcome::Failed(_));
            failed && took(&unit.input, message)
        });
        let units = &self.units;
        self.histories.retain(|it| {
            let mut reads = units.iter().filter(|unit| unit.service == it.service);
            reads.any(|unit| {
                let mut reads = unit.reads.iter();
                reads.any(|read| read.table == it.table && read.id == it.id)
            })
        });
        self
    }

    /// Sorts the units by time, and leaves out histories that two parts have.
    fn sort(&mut self) {
        self.units.sort_by_key(|unit| (unit.at, unit.unit));
        self.histories
            .sort_by(|a, b| (&a.service, &a.table, &a.id).cmp(&(&b.service, &b.table, &b.id)));
        self.histories
            .dedup_by(|a, b| (&a.service, &a.table, &a.id) == (&b.service, &b.table, &b.id));
    }
}

fn took(input: &Input, message: MessageId) -> bool {
    match input {
        Input::Messages { messages, .. } => messages.iter().any(|it| it.id == message),
        _ => false,
    }
}
