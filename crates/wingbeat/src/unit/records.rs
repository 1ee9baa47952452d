//! Records that the runtime itself stores beside a service's data.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;
use wingbeat_core::unit::Write;
use wingbeat_core::{CorrelationId, Key, Name, Propagation, Timestamp, TraceParent};

/// The table of pending timers.
pub(crate) const TIMERS: Name = Name::new("wb.timer");
/// The table of pending outside calls.
pub(crate) const CALLS: Name = Name::new("wb.call");

/// An entry of a timeline: one effect of one unit.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The time of the attempt.
    pub at: Timestamp,
    /// `event`, `command`, `timer` or `call`.
    pub kind: String,
    /// The wire type of a message, or the name of a timer or call.
    pub name: String,
    /// The id of the message, timer or call.
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
