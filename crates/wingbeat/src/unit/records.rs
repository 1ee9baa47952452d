//! Records that the runtime itself stores beside a service's data.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;
use wingbeat_core::unit::Write;
use wingbeat_core::{
    CorrelationId, Key, MessageId, Name, Propagation, Result, Timestamp, TraceParent,
};

use crate::decodes;

/// The table of pending timers.
pub(crate) const TIMERS: Name = Name::new("wb.timer");
/// The table of pending outside calls.
pub(crate) const CALLS: Name = Name::new("wb.call");
/// The table of delayed messages.
pub(crate) const DELAYED: Name = Name::new("wb.delayed");

/// The kind of journal entries that note a written record.
pub(super) const RECORD: &str = "record";

/// A table of the runtime's own records, and the check that one of them can be decoded.
#[derive(Clone, Copy)]
pub(crate) struct OwnTable {
    pub(crate) table: Name,
    pub(crate) check: fn(&[u8]) -> Result<()>,
}

impl OwnTable {
    pub(crate) const fn of<T: DeserializeOwned>(table: Name) -> Self {
        Self {
            table,
            check: decodes::<T>,
        }
    }
}

/// An entry of a timeline: one effect of one unit.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The time of the attempt.
    pub at: Timestamp,
    /// `event`, `command`, `timer` or `call`; `unknown` if a newer release wrote it, and this one
    /// cannot read it.
    pub kind: String,
    /// The wire type of a message, or the name of a timer or call.
    pub name: String,
    /// The id of the message, timer or call; nil if it is unknown.
    pub id: Uuid,
    /// The id of the message that caused it.
    pub causation_id: Option<Uuid>,
}

/// A pending timer.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TimerRecord {
    pub(crate) id: Uuid,
    pub(crate) queue: String,
    pub(crate) message: String,
    pub(crate) key: String,
    pub(crate) correlation: CorrelationId,
    /// The span that set it. Records of older releases have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) traceparent: Option<TraceParent>,
    #[serde(default, skip_serializing_if = "Propagation::is_empty")]
    pub(crate) propagation: Propagation,
    pub(crate) body: Box<RawValue>,
}

/// A pending outside call.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CallRecord {
    /// The id that the outcome names as its cause.
    pub(crate) id: Uuid,
    pub(crate) name: String,
    /// The idempotency key.
    pub(crate) operation: String,
    pub(crate) correlation: CorrelationId,
    /// The time at which a handler recorded the call.
    pub(crate) first_at: Timestamp,
    /// Failed attempts so far.
    pub(crate) attempts: u32,
    /// The span that recorded it. Records of older releases have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) traceparent: Option<TraceParent>,
    #[serde(default, skip_serializing_if = "Propagation::is_empty")]
    pub(crate) propagation: Propagation,
    pub(crate) body: Box<RawValue>,
}

/// A delayed message.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct DelayedRecord {
    /// Distinguishes it from a message with the same id that replaces it.
    pub(crate) id: Uuid,
    pub(crate) message: String,
    /// A command, not an event.
    #[serde(default)]
    pub(crate) command: bool,
    pub(crate) key: String,
    /// The time at which a handler recorded it.
    pub(crate) at: Timestamp,
    pub(crate) correlation: CorrelationId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) causation: Option<MessageId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sequence: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) operation: Option<String>,
    /// The span that recorded it.
    pub(crate) traceparent: Option<TraceParent>,
    #[serde(default, skip_serializing_if = "Propagation::is_empty")]
    pub(crate) propagation: Propagation,
    pub(crate) body: Box<RawValue>,
}

/// A write of a record that the store hands out at `at`.
pub(crate) fn due(key: Key, body: Bytes, at: Timestamp) -> Write {
    Write {
        key,
        body: Some(body),
        due_at: Some(at),
        expires_at: None,
    }
}

/// A write that removes a record.
pub(crate) fn remove(key: Key) -> Write {
    Write {
        key,
        body: None,
        due_at: None,
        expires_at: None,
    }
}

/// Embeds our own JSON in other JSON without parsing it again.
pub(crate) fn text(body: &Bytes) -> Box<RawValue> {
    let text = String::from_utf8(body.to_vec()).expect("what we encoded is UTF-8");
    RawValue::from_string(text).expect("what we encoded is JSON")
}

/// The name of a counter such as `handled:orders.checkout`.
pub(crate) fn counter(what: &str, of: &str) -> Name {
    Name::intern(&format!("{what}:{of}"))
}
