//! Requests and replies: the part of a message in a dialog of two services.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Name, Timestamp};

/// The prefix of the names of reply queues. The name of the service that asks follows.
const REPLIES: &str = "wingbeat.replies.";

/// The part of a message in a dialog: a request that waits for a reply, or the reply.
///
/// A reply names its request as its [causation](crate::Envelope::causation).
///
/// ```
/// use wingbeat_core::dialog::{Dialog, reply_queue};
/// use wingbeat_core::{Name, Timestamp};
///
/// let queue = reply_queue(Name::new("shop"), uuid::Uuid::nil());
/// let request = Dialog::Request { reply_to: queue.clone(), deadline: Timestamp::from_millis(5) };
/// assert_eq!(request.reply(), Some(Dialog::Reply { to: queue }));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialog {
    /// A request.
    Request {
        /// The queue of the process that waits for the reply.
        reply_to: String,
        /// The time after which nobody waits, by the clock of the process that asks.
        deadline: Timestamp,
    },
    /// A reply.
    Reply {
        /// The queue of the process that asked.
        to: String,
    },
}

impl Dialog {
    /// Returns the part of the reply to this request; `None` for a reply.
    #[must_use]
    pub fn reply(&self) -> Option<Self> {
        match self {
            Self::Request { reply_to, .. } => Some(Self::Reply {
                to: reply_to.clone(),
            }),
            Self::Reply { .. } => None,
        }
    }

    /// Returns the queue of the process that asks.
    #[must_use]
    pub fn queue(&self) -> &str {
        match self {
            Self::Request { reply_to, .. } => reply_to,
            Self::Reply { to } => to,
        }
    }
}

/// Returns the name of the reply queue of a process: the service that asks, and an id of the
/// process.
#[must_use]
pub fn reply_queue(service: Name, process: Uuid) -> String {
    format!("{}{process}", reply_queues(service))
}

/// Returns the prefix of the names of all reply queues of a service.
#[must_use]
pub fn reply_queues(service: Name) -> String {
    format!("{REPLIES}{service}.")
}
