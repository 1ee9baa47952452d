//! A message on its way: CloudEvents 1.0 attributes and the body.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};

use crate::{CorrelationId, Kind, MessageId, Timestamp, TraceParent};

/// The largest body of a message: far below what brokers take (16 MiB by default in RabbitMQ 4), since each
/// queue, window and batch holds many of them. What is larger belongs into a store of its own, with its key in
/// the message.
pub const BODY_MAX: usize = 1 << 20;
/// The longest key or operation id. They travel as headers, which must fit one frame of 128 KiB all together.
pub const KEY_MAX: usize = 8 << 10;

/// A message with its CloudEvents attributes. `specversion` is always 1.0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// `id`. Ids of foreign publishers that are not UUIDs are mapped onto one by the adapter.
    pub id: MessageId,
    /// `source`: the service that published it.
    pub source: Cow<'static, str>,
    /// `type`: `<service>.<event>.v<major>`.
    pub kind: Cow<'static, str>,
    /// Whether it travels as an event or as a command.
    pub role: Kind,
    /// `subject`, and our `partitionkey`: messages with the same key are handled one at a time.
    pub key: String,
    /// `time`: when it was recorded.
    pub time: Timestamp,
    /// `correlationid`: the root of the story.
    pub correlation: CorrelationId,
    /// `causationid`: the message (or unit) that caused this one.
    pub causation: Option<MessageId>,
    /// `sequence`: the version of the aggregate whose event this is.
    pub sequence: Option<u64>,
    /// `operationid`: the business operation; a resend keeps it while the id is new.
    pub operation: Option<String>,
    /// `traceparent` (W3C Trace Context): the span that published it.
    pub traceparent: Option<TraceParent>,
    /// The data: JSON.
    pub body: Bytes,
}

/// The attributes as one compact JSON object, for stores that keep head and body apart.
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

/// What strangers had written was once kept as it came: it may be none, and the message is one all the same.
fn lenient<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TraceParent>, D::Error> {
    let text = Option::<Cow<'de, str>>::deserialize(deserializer)?;
    Ok(text.and_then(|text| text.parse().ok()))
}

impl Envelope {
    /// Encodes attributes and body into one byte string: a length, the head as JSON, the body.
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

    /// Reads back what [`Envelope::encode`] wrote; `None` when the bytes are not such a string.
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
    fn an_envelope_survives_its_encoding() {
        let envelope = envelope();
        assert_eq!(Envelope::decode(&envelope.encode().into()), Some(envelope));
    }

    #[test]
    fn a_message_kept_before_traces_were_read_is_still_one() {
        let trace = envelope().traceparent.expect("it has one").to_string();
        for (told, read) in [
            ("?".repeat(trace.len()), None),
            (trace.clone(), envelope().traceparent),
        ] {
            let bytes = envelope().encode();
            let at = bytes
                .windows(trace.len())
                .position(|it| it == trace.as_bytes());
            let at = at.expect("it is told");
            let mut bytes = bytes;
            bytes[at..at + trace.len()].copy_from_slice(told.as_bytes());
            let decoded = Envelope::decode(&bytes.into()).expect("it is a message");
            assert_eq!(decoded.traceparent, read);
        }
    }

    #[test]
    fn truncated_bytes_are_refused() {
        let bytes = Bytes::from(envelope().encode());
        for end in 0..bytes.len() - 2 {
            assert_eq!(Envelope::decode(&bytes.slice(..end)), None);
        }
    }
}
