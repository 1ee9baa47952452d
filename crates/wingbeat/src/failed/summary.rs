//! Dead letters without their messages: marks of new ones, and rows of the index.

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wingbeat_core::text::printable;
use wingbeat_core::unit::Row;
use wingbeat_core::{Name, Timestamp};

use crate::encode;

/// The table of marks.
pub(super) const MARKS: Name = Name::new("wb.dead_mark");
/// The view of sorted dead letters; keys are their ids.
pub(super) const INDEX: Name = Name::new("wb.dead_index");
/// The column with the group.
pub(super) const BY_GROUP: Name = Name::new("group");
/// The column with the subscription.
pub(super) const BY_SUBSCRIPTION: Name = Name::new("subscription");

/// The longest error text of an index row or a group, in bytes.
const ERROR_SHOWN: usize = 300;
/// The longest message key of an index row or a group, in bytes.
const KEY_SHOWN: usize = 120;

/// A dead letter without its message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Summary {
    /// The id of the dead letter.
    pub id: Uuid,
    /// The queue that it came from.
    pub subscription: String,
    /// The message type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The key of the message, shortened.
    pub key: String,
    /// The error code.
    pub reason: String,
    /// The last error message, shortened.
    pub error: String,
    /// The number of attempts.
    pub attempts: u32,
    /// The number of times that a person had it handled again.
    pub retries: u32,
    /// The time of the first failure.
    pub first_at: Option<Timestamp>,
    /// The time at which it became a dead letter.
    pub last_at: Timestamp,
    /// Equal for all dead letters with equal causes.
    pub fingerprint: String,
}

impl Summary {
    /// Shortens the texts.
    pub(super) fn bounded(self) -> Self {
        Self {
            key: printable(&self.key, KEY_SHOWN),
            error: printable(&self.error, ERROR_SHOWN),
            ..self
        }
    }

    /// Returns whether the message has this key.
    pub(super) fn has_key(&self, key: &str) -> bool {
        printable(key, KEY_SHOWN) == self.key
    }

    /// Returns the index row of a dead letter in this group.
    pub(super) fn row(&self, group: &str) -> Row {
        let columns = vec![
            (BY_GROUP, group.to_owned()),
            (BY_SUBSCRIPTION, self.subscription.clone()),
        ];
        Row {
            columns,
            body: encode(self),
        }
    }
}
