//! The stored form of one recorded unit.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wingbeat_core::outgoing::Response;
use wingbeat_core::{CorrelationId, Dialog, Envelope, Kind, MessageId, Timestamp};

use super::Body;

/// One attempt of one service: its input, what it read, and its outcome.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct RecordedUnit {
    /// The service.
    pub service: String,
    /// The id of the unit of work.
    pub unit: Uuid,
    /// The time of the attempt. The handler saw it as its present time.
    pub at: Timestamp,
    /// The story.
    pub correlation: CorrelationId,
    /// What the handler was given.
    pub input: Input,
    /// The records that it read, as they were before.
    pub reads: Vec<ReadRecord>,
    /// Its reads outside the unit: rows of views, and lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lists: Vec<Listed>,
    /// What it did.
    pub outcome: Outcome,
}

/// The input of a recorded unit.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Input {
    /// Messages from a queue, or a timer or parked delivery that came due. One message, except for
    /// a handler of batches.
    Messages {
        /// The subscription: `<service>.<name>`.
        queue: String,
        /// The messages.
        messages: Vec<RecordedMessage>,
    },
    /// A run of a scheduled handler.
    Schedule {
        /// The name of the schedule.
        name: String,
        /// The planned time.
        tick: Timestamp,
    },
    /// An attempt at an outside call.
    Call {
        /// The name of the call.
        name: String,
        /// The idempotency key.
        operation: String,
        /// The attempts before this one.
        attempts: u32,
        /// The id that the outcome names as its cause.
        id: Uuid,
        /// The time at which the call was recorded.
        since: Timestamp,
        /// The call.
        body: Body,
        /// The answers of the outside system, in order.
        answers: Vec<Exchange>,
        /// The error for which the call was given up.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        gave_up: Option<Failed>,
    },
    /// An HTTP request. Its body is not recorded, because it may contain passwords and personal
    /// data, so the unit cannot be replayed.
    Request {
        /// The method and the route.
        route: String,
    },
}

/// A message that a handler was given.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct RecordedMessage {
    /// The id.
    pub id: MessageId,
    /// The service that published it.
    pub source: String,
    /// The wire type.
    #[serde(rename = "type")]
    pub kind: String,
    /// It is a command, not an event.
    #[serde(default)]
    pub command: bool,
    /// The key.
    pub key: String,
    /// The time at which the publisher recorded it.
    pub time: Timestamp,
    /// The correlation id.
    pub correlation: CorrelationId,
    /// The cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation: Option<MessageId>,
    /// The version of the aggregate that published it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// The operation id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// The queue for the reply, and its deadline, of a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<(String, Timestamp)>,
    /// The body.
    pub body: Body,
}

impl RecordedMessage {
    pub(crate) fn of(envelope: &Envelope, withheld: bool) -> Self {
        Self {
            id: envelope.id,
            source: envelope.source.to_string(),
            kind: envelope.kind.to_string(),
            command: envelope.role == Kind::Command,
            key: envelope.key.clone(),
            time: envelope.time,
            correlation: envelope.correlation,
            causation: envelope.causation,
            sequence: envelope.sequence,
            operation: envelope.operation.clone(),
            request: match &envelope.dialog {
                Some(Dialog::Request { reply_to, deadline }) => {
                    Some((reply_to.to_string(), *deadline))
                }
                _ => None,
            },
            body: content(&envelope.body, withheld),
        }
    }

    /// Returns the message as it was delivered, without trace and signature.
    #[must_use]
    pub fn envelope(&self) -> Envelope {
        Envelope {
            id: self.id,
            source: self.source.clone().into(),
            kind: self.kind.clone().into(),
            role: if self.command {
                Kind::Command
            } else {
                Kind::Event
            },
            key: self.key.clone(),
            time: self.time,
            correlation: self.correlation,
            causation: self.causation,
            sequence: self.sequence,
            operation: self.operation.clone(),
            traceparent: None,
            propagation: Default::default(),
            signature: None,
            dialog: self
                .request
                .clone()
                .map(|(queue, deadline)| Dialog::Request {
                    reply_to: queue,
                    deadline,
                }),
            body: self.body.bytes(),
        }
    }
}

/// Returns the recorded form of a content.
pub(super) fn content(bytes: &[u8], withheld: bool) -> Body {
    if withheld {
        return Body::withheld("personal");
    }
    Body::of(bytes)
}

/// An answer of an outside system.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Exchange {
    /// A response.
    Response {
        /// The status code.
        status: u16,
        /// The header fields.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        headers: Vec<(String, String)>,
        /// The body.
        body: Body,
    },
    /// No response.
    Failed(Failed),
}

impl Exchange {
    pub(crate) fn of(answer: &wingbeat_core::Result<Response>) -> Self {
        match answer {
            Ok(it) => Self::Response {
                status: it.status,
                headers: it.headers.clone(),
                body: Body::of(&it.body),
            },
            Err(why) => Self::Failed(Failed::of(why)),
        }
    }
}

/// An error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Failed {
    /// The code.
    pub code: String,
    /// Another attempt may succeed.
    pub retry: bool,
    /// The text.
    pub error: String,
}

impl Failed {
    /// The error with which a message was given up.
    pub(crate) fn new(code: &str, error: &str) -> Self {
        Self {
            code: code.to_owned(),
            retry: false,
            error: error.to_owned(),
        }
    }

    pub(crate) fn of(why: &wingbeat_core::Error) -> Self {
        Self {
            code: why.code().to_owned(),
            retry: why.class() == wingbeat_core::Class::Retry,
            error: why.to_string(),
        }
    }
}

/// A record as the handler read it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct ReadRecord {
    /// The table.
    pub table: String,
    /// The id.
    pub id: String,
    /// The version; 0 if the record was absent.
    pub version: u64,
    /// The content; `None` if the record was absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Body>,
}

/// A read of view rows or of a list of records.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Listed {
    /// The query.
    pub query: String,
    /// The keys and bodies that were found, in order.
    pub rows: Vec<(String, u64, Body)>,
    /// The value and the key of the position after which the next page starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<(String, String)>,
}

/// The end of an attempt.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// It was committed, with these effects.
    Done(Effect),
    /// It failed, and its message became a dead letter.
    Failed(Failed),
    /// It was committed, and is too large to be recorded.
    TooLarge,
}

/// The effects of a unit.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
#[non_exhaustive]
pub struct Effect {
    /// Records that were put or removed: data, timers, outside calls.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<Put>,
    /// Events that were appended to histories.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Appended>,
    /// Rows of views that were put or removed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<Shown>,
    /// Messages that were published or sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<Sent>,
    /// SQL statements with their parameters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub statements: Vec<String>,
}

/// A record that a unit put or removed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Put {
    /// The table.
    pub table: String,
    /// The id.
    pub id: String,
    /// The content; `None` if the record was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Body>,
    /// The time at which it comes due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Timestamp>,
    /// The time from which it may be deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// An event that a unit appended.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Appended {
    /// The type of the aggregate.
    pub table: String,
    /// The id of the aggregate.
    pub id: String,
    /// The position.
    pub sequence: u64,
    /// The event.
    pub body: Body,
}

/// A row that a unit put or removed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Shown {
    /// The view.
    pub view: String,
    /// The key.
    pub key: String,
    /// The indexed columns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<(String, String)>,
    /// The content; `None` if the row was removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Body>,
}

/// A message that a unit published.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Sent {
    /// The wire type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The key.
    pub key: String,
    /// The version of the aggregate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// The operation id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// The body.
    pub body: Body,
}
