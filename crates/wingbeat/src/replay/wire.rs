//! The messages between the owner of a history and a subscriber.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wingbeat_core::{Envelope, Kind, Message, MessageType, Name, Result};

use crate::effects::Outgoing;
use crate::unit::REPLAYED;
use crate::{decode, encode};

/// The key of marks. They have one of their own, so that they do not wait behind the messages of an
/// aggregate.
const MARK_KEY: &str = "wb.mark";

/// A command of a subscriber to the owner of a message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "request", rename_all = "snake_case")]
pub(super) enum Request {
    /// Send the past of a message to a subscription.
    Begin {
        queue: String,
        message: String,
        /// The id of the replay.
        replay: Uuid,
    },
    /// The subscription has settled all messages up to a mark.
    Reached {
        queue: String,
        replay: Uuid,
        chapter: u64,
    },
}

impl Message for Request {
    const NAME: &'static str = "wingbeat.replays";
    const KIND: Kind = Kind::Command;
    const INTERNAL: bool = true;

    fn key(&self) -> String {
        match self {
            Self::Begin { queue, .. } | Self::Reached { queue, .. } => queue.clone(),
        }
    }
}

/// The type of requests to a service. Its queue has the same name.
pub(crate) fn request_type(owner: &str) -> MessageType {
    let name = Name::intern(&format!("{owner}.replays"));
    MessageType::of::<Request>().named(name.as_str())
}

impl Request {
    /// Returns the command to the owner of the message.
    pub(super) fn to(&self, owner: &str) -> Outgoing {
        Outgoing {
            name: request_type(owner).name,
            ..Outgoing::of(self)
        }
    }
}

/// The end of a chapter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) replay: Uuid,
    pub(super) chapter: u64,
    /// The last message of each aggregate in the chapter.
    pub(super) last: Vec<Uuid>,
    /// No chapter follows.
    pub(super) is_last: bool,
}

impl Mark {
    /// Returns the command to the subscriber.
    pub(super) fn to(&self, replayed: Name) -> Outgoing {
        Outgoing {
            name: replayed.as_str(),
            kind: Kind::Command,
            key: MARK_KEY.into(),
            body: encode(self),
            sequence: None,
            operation: None,
            stamp: None,
            dialog: None,
            stored: false,
        }
    }

    /// Returns the mark in a message to the subscriber; `None` if it is an event.
    pub(super) fn of(envelope: &Envelope) -> Option<Result<Self>> {
        // Events of histories have a sequence.
        let is_mark = envelope.sequence.is_none();
        is_mark.then(|| decode(&envelope.body))
    }
}

/// The type of the messages that repeat the past for a subscription.
pub(super) fn replayed(queue: &str) -> Name {
    Name::intern(&format!("{queue}{REPLAYED}"))
}
