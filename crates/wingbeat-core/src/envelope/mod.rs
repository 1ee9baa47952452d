//! Messages in transit: CloudEvents 1.0 attributes and a body.

mod limits;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};

use crate::signature::SignedText;
use crate::{
    CorrelationId, Dialog, Kind, MessageId, Propagation, Signature, Timestamp, TraceParent,
};

use limits::check_text;
pub use limits::{BODY_MAX, KEY_MAX, KIND_MAX, Limited, SOURCE_MAX, Unfit};

/// A message in transit: its CloudEvents attributes and its body. `specversion` is always 1.0.
///
/// ```
/// use bytes::Bytes;
/// use wingbeat_core::ids::uuid_v7;
/// use wingbeat_core::{Envelope, Kind, Propagation, Timestamp};
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
///     propagation: Propagation::default(),
///     signature: None,
///     dialog: None,
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
    /// `tracestate` and `baggage`, which are passed on.
    pub propagation: Propagation,
    /// `signature`: the source's signature of [`Envelope::signed_text`], on commands of services
    /// that sign.
    pub signature: Option<Signature>,
    /// The part in a request and its reply, if the message has one.
    pub dialog: Option<Dialog>,
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
    #[serde(rename = "g", default, skip_serializing_if = "is_empty")]
    propagation: Cow<'a, Propagation>,
    #[serde(rename = "z", default, skip_serializing_if = "Option::is_none")]
    signature: Option<Signature>,
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    dialog: Option<Cow<'a, Dialog>>,
}

fn is_empty(propagation: &Propagation) -> bool {
    propagation.is_empty()
}

/// Ignores an invalid `traceparent`: early releases stored the header of foreign publishers
/// unchecked.
fn lenient<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<TraceParent>, D::Error> {
    let text = Option::<Cow<'de, str>>::deserialize(deserializer)?;
    Ok(text.and_then(|text| text.parse().ok()))
}

impl Envelope {
    /// Checks the sizes and characters of all fields.
    ///
    /// # Errors
    ///
    /// The first problem.
    pub fn check(&self) -> Result<(), Unfit> {
        let limited = Limited {
            kind: &self.kind,
            source: &self.source,
            key: &self.key,
            operation: self.operation.as_deref().unwrap_or_default(),
            body: &self.body,
        };
        limited.check()?;
        let queue = self.dialog.as_ref().map_or("", Dialog::queue);
        check_text("reply queue", queue, KIND_MAX)
    }

    /// Returns the bytes that a signature of this command covers: all that gives it meaning, so
    /// that no part of it can be exchanged. `docs/interoperability.md` describes the form. The text
    /// of a request also covers where its reply goes and its deadline, that of a reply its queue.
    ///
    /// The trace context is not covered: whatever passes a message on may change it.
    #[must_use]
    pub fn signed_text(&self) -> Vec<u8> {
        let text = |number: Option<String>| number.unwrap_or_default();
        let signed = SignedText::new("wingbeat command v1")
            .field(self.id.to_string().as_bytes())
            .field(self.source.as_bytes())
            .field(self.kind.as_bytes())
            .field(self.key.as_bytes())
            .field(self.operation.as_deref().unwrap_or_default().as_bytes())
            .field(self.time.as_micros().to_string().as_bytes())
            .field(self.correlation.to_string().as_bytes())
            .field(text(self.causation.map(|it| it.to_string())).as_bytes())
            .field(text(self.sequence.map(|it| it.to_string())).as_bytes())
            .field(&self.body);
        match &self.dialog {
            None => signed,
            Some(Dialog::Request { reply_to, deadline }) => signed
                .field(reply_to.as_bytes())
                .field(deadline.as_micros().to_string().as_bytes()),
            Some(Dialog::Reply { to }) => signed.field(to.as_bytes()),
        }
        .into_bytes()
    }

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
            propagation: Cow::Borrowed(&self.propagation),
            signature: self.signature.clone(),
            dialog: self.dialog.as_ref().map(Cow::Borrowed),
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
            propagation: head.propagation.into_owned(),
            signature: head.signature,
            dialog: head.dialog.map(Cow::into_owned),
            body: bytes.slice(end..),
        })
    }
}
