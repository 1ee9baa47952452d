//! Messages in transit: CloudEvents 1.0 attributes and a body.

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize};

use thiserror::Error;

use crate::signature::SignedText;
use crate::text::is_forbidden;
use crate::{
    CorrelationId, Dialog, Kind, MessageId, Propagation, Signature, Timestamp, TraceParent,
};

/// The largest body of a message: 1 MiB.
///
/// Queues, windows and batches contain many messages, so the limit is far below that of brokers
/// (16 MiB by default in RabbitMQ 4). Keep larger data in a store of its own, and send its key.
pub const BODY_MAX: usize = 1 << 20;
/// The longest key or operation id: 8 KiB.
///
/// Both are headers in AMQP, the key twice, and all headers of a message together must fit one
/// frame.
pub const KEY_MAX: usize = 8 << 10;
/// The longest source: 1 KiB. Stores index it.
pub const SOURCE_MAX: usize = 1 << 10;
/// The longest message type: 255 bytes, the limit of an AMQP routing key.
pub const KIND_MAX: usize = 255;

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

/// The reason why an envelope cannot travel. All adapters and the runtime check the same limits
/// with [`Envelope::check`], before a message is committed and when one arrives.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Unfit {
    /// A field is larger than its limit.
    #[error("the {field} has {size} bytes; the limit is {limit}")]
    TooLarge {
        /// The field.
        field: &'static str,
        /// Its size in bytes.
        size: usize,
        /// The largest size in bytes.
        limit: usize,
    },
    /// CloudEvents forbids a character of a field. Some stores cannot keep it either.
    #[error("the {field} contains the character U+{code:04X}, which CloudEvents forbids")]
    ForbiddenCharacter {
        /// The field.
        field: &'static str,
        /// The code point.
        code: u32,
    },
}

/// The fields of a message that have limits.
#[derive(Clone, Copy, Debug)]
pub struct Limited<'a> {
    /// The type.
    pub kind: &'a str,
    /// The source.
    pub source: &'a str,
    /// The key.
    pub key: &'a str,
    /// The operation id; empty for none.
    pub operation: &'a str,
    /// The body.
    pub body: &'a [u8],
}

impl Limited<'_> {
    /// Checks the sizes and characters of all fields.
    ///
    /// # Errors
    ///
    /// The first problem.
    pub fn check(&self) -> Result<(), Unfit> {
        let texts = [
            ("type", self.kind, KIND_MAX),
            ("source", self.source, SOURCE_MAX),
            ("key", self.key, KEY_MAX),
            ("operation id", self.operation, KEY_MAX),
        ];
        let sizes = texts.map(|(field, text, limit)| (field, text.len(), limit));
        let sizes = sizes
            .into_iter()
            .chain([("body", self.body.len(), BODY_MAX)]);
        for (field, size, limit) in sizes {
            check_size(field, size, limit)?;
        }
        for (field, text, limit) in texts {
            check_text(field, text, limit)?;
        }
        Ok(())
    }
}

fn check_size(field: &'static str, size: usize, limit: usize) -> Result<(), Unfit> {
    if size > limit {
        return Err(Unfit::TooLarge { field, size, limit });
    }
    Ok(())
}

fn check_text(field: &'static str, text: &str, limit: usize) -> Result<(), Unfit> {
    check_size(field, text.len(), limit)?;
    match text.chars().find(|it| is_forbidden(*it)) {
        Some(forbidden) => Err(Unfit::ForbiddenCharacter {
            field,
            code: u32::from(forbidden),
        }),
        None => Ok(()),
    }
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
            propagation: Propagation::new(Some("vendor=1"), Some("tenant=7")),
            signature: Some(Signature::new([9; 64])),
            dialog: None,
            body: Bytes::from_static(b"{}"),
        }
    }

    #[test]
    fn a_decoded_envelope_equals_the_encoded_one() {
        let envelope = envelope();
        assert_eq!(Envelope::decode(&envelope.encode().into()), Some(envelope));
    }

    /// The bytes of the page on interoperability, as its code in Python makes them. Programs in
    /// other languages sign them.
    #[test]
    fn the_signed_bytes_of_a_command_are_these() {
        let id = |number: u128| uuid::Uuid::from_u128((0x0193_f0a0_0000_7000_8000 << 48) + number);
        let command = Envelope {
            id: id(1).into(),
            source: "orders".into(),
            kind: "payments.refund_payment.v1".into(),
            role: Kind::Command,
            key: "sale-\u{fc}".into(),
            time: Timestamp::from_micros(1_764_000_000_123_456),
            correlation: id(3).into(),
            causation: Some(id(4).into()),
            sequence: Some(5),
            operation: Some("refund-7".into()),
            body: Bytes::from_static(br#"{"cents":100}"#),
            ..envelope()
        };
        let full = "wingbeat command v1\n\
            36:0193f0a0-0000-7000-8000-000000000001,6:orders,26:payments.refund_payment.v1,\
            7:sale-\u{fc},8:refund-7,16:1764000000123456,\
            36:0193f0a0-0000-7000-8000-000000000003,36:0193f0a0-0000-7000-8000-000000000004,\
            1:5,13:{\"cents\":100},";
        assert_eq!(String::from_utf8_lossy(&command.signed_text()), full);
        let least = Envelope {
            source: "tills/3".into(),
            key: id(1).to_string(),
            correlation: id(1).into(),
            causation: None,
            sequence: None,
            operation: None,
            body: Bytes::from_static(b"{}"),
            ..command
        };
        let text = "wingbeat command v1\n\
            36:0193f0a0-0000-7000-8000-000000000001,7:tills/3,26:payments.refund_payment.v1,\
            36:0193f0a0-0000-7000-8000-000000000001,0:,16:1764000000123456,\
            36:0193f0a0-0000-7000-8000-000000000001,0:,0:,2:{},";
        assert_eq!(String::from_utf8_lossy(&least.signed_text()), text);
    }

    /// Everything but the trace context and the role, which the receiver knows by the type.
    #[test]
    fn a_signature_covers_every_field_with_a_meaning() {
        type Change = fn(&mut Envelope);
        let id = uuid_v7(Timestamp::from_millis(6), 8);
        assert_ne!(id, envelope().id.0);
        let covered: [(&str, Change); 10] = [
            ("id", |it| {
                it.id = uuid_v7(Timestamp::from_millis(6), 8).into()
            }),
            ("source", |it| it.source = "payments".into()),
            ("type", |it| it.kind = "orders.order_placed.v2".into()),
            ("key", |it| it.key.push('1')),
            ("operation", |it| it.operation = Some("o".into())),
            ("time", |it| it.time = Timestamp::from_micros(5_000_002)),
            ("correlation", |it| {
                it.correlation = uuid_v7(Timestamp::from_millis(6), 8).into()
            }),
            ("causation", |it| it.causation = None),
            ("sequence", |it| it.sequence = None),
            ("body", |it| it.body = Bytes::from_static(b"{} ")),
        ];
        for (field, change) in covered {
            let mut changed = envelope();
            change(&mut changed);
            assert_ne!(changed.signed_text(), envelope().signed_text(), "{field}");
        }
        let mut passed_on = envelope();
        passed_on.traceparent = None;
        passed_on.propagation = Propagation::default();
        passed_on.signature = None;
        assert_eq!(passed_on.signed_text(), envelope().signed_text());
    }

    #[test]
    fn a_signature_covers_the_reply_queue_and_the_deadline() {
        let with = |dialog| Envelope {
            dialog,
            ..envelope()
        };
        let request = |reply_to: &str, second| {
            with(Some(Dialog::Request {
                reply_to: reply_to.into(),
                deadline: Timestamp::from_millis(i64::from(second) * 1_000),
            }))
        };
        let to = String::from("a");
        let reply = with(Some(Dialog::Reply { to }));
        let all = [
            with(None),
            request("a", 1),
            request("b", 1),
            request("a", 2),
            reply,
        ];
        for (number, one) in all.iter().enumerate() {
            assert_eq!(Envelope::decode(&one.encode().into()).as_ref(), Some(one));
            for other in &all[number + 1..] {
                assert_ne!(one.signed_text(), other.signed_text());
            }
        }
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
    fn each_field_has_a_limit_in_bytes() {
        type Set = fn(&mut Envelope, String);
        let fields: [(&str, usize, Set); 5] = [
            ("type", KIND_MAX, |it, text| it.kind = text.into()),
            ("source", SOURCE_MAX, |it, text| it.source = text.into()),
            ("key", KEY_MAX, |it, text| it.key = text),
            ("operation id", KEY_MAX, |it, text| {
                it.operation = Some(text)
            }),
            ("body", BODY_MAX, |it, text| it.body = text.into()),
        ];
        for (field, limit, set) in fields {
            let of = |size| {
                let mut envelope = envelope();
                set(&mut envelope, "k".repeat(size));
                envelope.check()
            };
            assert_eq!(of(limit), Ok(()));
            let size = limit + 1;
            assert_eq!(of(size), Err(Unfit::TooLarge { field, size, limit }));
        }
    }

    #[test]
    fn attributes_contain_no_control_characters() {
        for (code, character) in [(0, '\0'), (0xa, '\n'), (0x7f, '\x7f'), (0xffff, '\u{ffff}')] {
            let mut envelope = envelope();
            envelope.key = format!("k{character}");
            let field = "key";
            let expected = Unfit::ForbiddenCharacter { field, code };
            assert_eq!(envelope.check(), Err(expected));
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
