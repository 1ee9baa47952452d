//! Messages in transit: CloudEvents 1.0 attributes and a body.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};

use crate::{CorrelationId, Kind, MessageId, Timestamp, TraceParent};

/// The largest body of a message: 1 MiB.
///
/// Queues, windows and batches contain many messages, so the limit is far below that of brokers
/// (16 MiB by default in RabbitMQ 4). Keep larger data in a store of its own, and send its key.
pub const BODY_MAX: usize = 1 << 20;
/// The longest key or operation id: 8 KiB.
///
/// Both are headers in AMQP, and all headers of a message together must fit one frame of 128 KiB.
pub const KEY_MAX: usize = 8 << 10;

/// A message in transit: its CloudEvents attributes and its body. `specversion` is always 1.0.
///
/// ```
/// use bytes::Bytes;
/// use wingbeat_core::ids::uuid_v7;
/// use wingbeat_core::{Envelope, Kind, Timestamp};
///
/// let now = Timestamp::from_millis(1_700_000_000_000);
/// let id = uuid_v7(now, 7); // an adapter calls `RuntimeExt::id`
/// let placed = Envelope {
///     id: id.into(),
///     source: "orders".into(),
///     kind: "orders.order_placed.v1".into(),
///     role: Kind::Event,
///     key: "order-7".into(),
///     time: now,
///     correlation: id.into(),
///     causation: None,
///     sequence: None,
///     operation: None,
///     traceparent: None,
///     body: Bytes::from_static(b"{}"),
/// };
/// assert_eq!(Envelope::decode(&placed.encode().into()), Some(placed));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// `id`. The adapter maps an id that is not a UUID onto one, the same at each delivery.
    pub id: MessageId,
    /// `source`: the service that published it.
    pub source: Cow<'static, str>,
    /// `type`: `<service>.<event>.v<major>`.
    pub kind: Cow<'static, str>,
    /// Event or command.
    pub role: Kind,
    /// `subject` and `partitionkey`: a subscription handles messages with the same key one at a
    /// time.
    pub key: String,
    /// `time`: when the publisher recorded the message.
    pub time: Timestamp,
    /// `correlationid`: shared by all messages that one request or schedule caused.
    pub correlation: CorrelationId,
    /// `causationid`: the message or unit that caused this one.
    pub causation: Option<MessageId>,
    /// `sequence`: the version of the aggregate that published this event.
    pub sequence: Option<u64>,
    /// `operationid`: the business operation. A command that is sent again has a new id and the
    /// same operation.
    pub operation: Option<String>,
    /// `traceparent` (W3C Trace Context): the span that published the message.
    pub traceparent: Option<TraceParent>,
    /// `data`: JSON.
    pub body: Bytes,
}

/// The attributes as one compact JSON object. Short field names, since each stored message has
/// them.
#[derive(Serialize, Deserialize)]
struct Head<'a> {
    #[serde(rename = "i")]
    id: MessageId,
    #[serde(rename = "s")]
    source: Cow<'a, str>,
    #[serde(rename = "y")]
    kind: Cow<'a, str>,
    #[serde(rename = "r")]
    command: bool,
    #[serde(rename = "k")]
    key: Cow<'a, str>,
    #[serde(rename = "t")]
    time: i64,
    #[serde(rename = "c")]
    correlation: CorrelationId,
    #[serde(rename = "a", default, skip_serializing_if = "Option::is_none")]
    causation: Option<MessageId>,
    #[serde(rename = "q", default, skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    operation: Option<Cow<'a, str>>,
    #[serde(
        rename = "p",
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "lenient"
    )]
    traceparent: Option<TraceParent>,
}

/// Ignores an invalid `traceparent`: early releases stored the header of foreign publishers
/// unchecked.
fn lenient<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TraceParent>, D::Error> {
    let text = Option::<Cow<'de, str>>::deserialize(deserializer)?;
    Ok(text.and_then(|text| text.parse().ok()))
}

impl Envelope {
    /// Encodes the message into one byte string, for stores that keep messages as bytes.
    ///
    /// The format is the length of the attributes (four bytes, little endian), the attributes as
    /// JSON, and the body. Later releases read what earlier ones wrote.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let head = Head {
            id: self.id,
            source: Cow::Borrowed(&self.source),
            kind: Cow::Borrowed(&self.kind),
            command: self.role == Kind::Command,
            key: Cow::Borrowed(&self.key),
            time: self.time.as_micros(),
            correlation: self.correlation,
            causation: self.causation,
            sequence: self.sequence,
            operation: self.operation.as_deref().map(Cow::Borrowed),
            traceparent: self.traceparent,
        };
        let mut bytes = vec![0; 4];
        bytes.reserve(320 + self.body.len());
        serde_json::to_writer(&mut bytes, &head).expect("strings and numbers always encode");
        let length = u32::try_from(bytes.len() - 4).expect("a head is far below 4 GiB");
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Decodes the output of [`Envelope::encode`]; `None` if `bytes` is anything else.
    #[must_use]
    pub fn decode(bytes: &Bytes) -> Option<Self> {
        let length = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
        let end = length.checked_add(4)?;
        let head: Head<'_> = serde_json::from_slice(bytes.get(4..end)?).ok()?;
        Some(Self {
            id: head.id,
            source: head.source.into_owned().into(),
            kind: head.kind.into_owned().into(),
            role: if head.command {
                Kind::Command
            } else {
                Kind::Event
            },
            key: head.key.into_owned(),
            time: Timestamp::from_micros(head.time),
            correlation: head.correlation,
            causation: head.causation,
            sequence: head.sequence,
            operation: head.operation.map(Cow::into_owned),
            traceparent: head.traceparent,
            body: bytes.slice(end..),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::uuid_v7;

    fn envelope() -> Envelope {
        let id = uuid_v7(Timestamp::from_millis(5), 7);
        Envelope {
            id: id.into(),
            source: "orders".into(),
            kind: "orders.order_placed.v1".into(),
            role: Kind::Event,
            key: "k\"\u{1F426}".into(),
            time: Timestamp::from_micros(5_000_001),
            correlation: id.into(),
            causation: Some(id.into()),
            sequence: Some(3),
            operation: None,
            traceparent: Some(TraceParent::of(id)),
            body: Bytes::from_static(b"{}"),
        }
    }

    #[test]
    fn a_decoded_envelope_equals_the_encoded_one() {
        let envelope = envelope();
        assert_eq!(Envelope::decode(&envelope.encode().into()), Some(envelope));
    }

    #[test]
    fn an_invalid_traceparent_is_ignored() {
        let trace = envelope().traceparent.expect("it has one").to_string();
        for (stored, expected) in [
            ("?".repeat(trace.len()), None),
            (trace.clone(), envelope().traceparent),
        ] {
            let bytes = envelope().encode();
            let at = bytes
                .windows(trace.len())
                .position(|it| it == trace.as_bytes());
            let at = at.expect("it is encoded");
            let mut bytes = bytes;
            bytes[at..at + trace.len()].copy_from_slice(stored.as_bytes());
            let decoded = Envelope::decode(&bytes.into()).expect("it is a message");
            assert_eq!(decoded.traceparent, expected);
        }
    }

    #[test]
    fn truncated_bytes_are_not_decoded() {
        let bytes = Bytes::from(envelope().encode());
        for end in 0..bytes.len() - 2 {
            assert_eq!(Envelope::decode(&bytes.slice(..end)), None);
        }
    }
}
