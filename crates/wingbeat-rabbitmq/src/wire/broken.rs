//! Deliveries that are not messages: what a dead letter keeps of them.

use std::collections::BTreeMap;

use bytes::Bytes;
use lapin::message::Delivery;
use lapin::types::AMQPValue;
use uuid::Uuid;
use wingbeat_core::MessageId;
use wingbeat_core::envelope::KIND_MAX;
use wingbeat_core::text::printable;
use wingbeat_core::transport::{Broken, Fault, Undecodable};

use super::FOREIGN;
use super::value::{plain, text, text_of};
use crate::guard::{BODY_SIZE, DIGEST_BYTES, FAULT, KEPT, RAW_PROPERTIES, RESERVED};

/// The longest value of a header that a dead letter keeps.
const VALUE_MAX: usize = 1 << 10;
/// The largest number of bytes that a dead letter keeps of all headers.
const HEADERS_MAX: usize = 16 << 10;
/// The longest description of a problem.
const WHY_MAX: usize = 1 << 10;

/// Headers that the broker changes at each delivery.
const CHANGING: [&str; 4] = [
    "x-delivery-count",
    "x-acquired-count",
    "x-death",
    "x-opt-delivery-time",
];

/// A problem of a delivery.
pub(super) type Problem = (Fault, String);

/// Returns the problem that the guard has found.
pub(super) fn found_by_guard(delivery: &Delivery) -> Option<Problem> {
    let told = plain(delivery, FAULT).and_then(text);
    if let Some(told) = told {
        let (reason, why) = told.split_once(": ").unwrap_or(("undecodable", &told));
        let fault = if reason == Fault::TooLarge.reason() {
            Fault::TooLarge
        } else {
            Fault::Undecodable
        };
        return Some((fault, why.to_owned()));
    }
    let size = plain(delivery, BODY_SIZE).and_then(text)?;
    let limit = wingbeat_core::envelope::BODY_MAX;
    let why =
        format!("the body has {size} bytes, more than {limit}; the first {KEPT} bytes are kept");
    Some((Fault::TooLarge, why))
}

/// Returns the body, and the digest of the whole body if the guard has cut it off.
fn body(delivery: &Delivery) -> (&[u8], Option<&[u8]>) {
    let end = delivery.data.len().checked_sub(DIGEST_BYTES);
    match end.filter(|_| plain(delivery, BODY_SIZE).is_some()) {
        Some(end) => (&delivery.data[..end], Some(&delivery.data[end..])),
        None => (&delivery.data, None),
    }
}

pub(super) fn undecodable(delivery: &Delivery, (fault, why): Problem) -> Undecodable {
    let mut headers = headers_as_text(delivery);
    let id = stable_id(delivery, &why, &headers);
    let (body, digest) = body(delivery);
    if let Some(digest) = digest {
        headers.insert("body_sha256".into(), hexadecimal(digest));
    }
    Undecodable {
        id,
        kind: printable(&kind(delivery), KIND_MAX),
        raw: Bytes::copy_from_slice(body),
        broken: Broken {
            fault,
            why: printable(&why, WHY_MAX),
            headers,
        },
    }
}

/// Returns the message type; without the attribute, the routing key.
pub(super) fn kind(delivery: &Delivery) -> String {
    let kind = text_of(delivery, "type").ok().flatten();
    kind.unwrap_or_else(|| delivery.routing_key.to_string())
}

/// Returns headers and properties for the operator who reads the dead letter: printable, and of a
/// limited size.
fn headers_as_text(delivery: &Delivery) -> BTreeMap<String, String> {
    let properties = &delivery.properties;
    let known = [
        ("message_id", properties.message_id().as_ref()),
        ("content_type", properties.content_type().as_ref()),
        ("routing_key", Some(&delivery.routing_key)),
    ];
    let known = known
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_string())));
    let headers = properties.headers().iter().flat_map(|table| table.inner());
    let headers = headers.filter_map(|(name, value)| {
        let name = name.as_str();
        if name == RAW_PROPERTIES {
            return Some(("properties (hexadecimal)".to_owned(), shown(value)));
        }
        let changes = CHANGING.contains(&name) || name.starts_with(RESERVED);
        let of_broker = name.starts_with("x-first-death-") || name.starts_with("x-last-death-");
        (!changes && !of_broker).then(|| (name.to_owned(), shown(value)))
    });
    let mut all = BTreeMap::new();
    let mut left = HEADERS_MAX;
    for (name, value) in known.chain(headers) {
        let (name, value) = (printable(&name, KIND_MAX), printable(&value, VALUE_MAX));
        let Some(rest) = left.checked_sub(name.len() + value.len()) else {
            all.insert("…".to_owned(), "further headers were dropped".to_owned());
            break;
        };
        left = rest;
        all.insert(name, value);
    }
    all
}

/// Returns a value as text: bytes that are not UTF-8 in hexadecimal, tables and arrays by the size
/// of their first level.
fn shown(value: &AMQPValue) -> String {
    if let Some(text) = text(value) {
        return text;
    }
    match value {
        AMQPValue::LongString(bytes) => hexadecimal(bytes.as_bytes()),
        AMQPValue::ByteArray(bytes) => hexadecimal(bytes.as_slice()),
        AMQPValue::FieldTable(table) => format!("a table with {} entries", table.inner().len()),
        AMQPValue::FieldArray(array) => {
            format!("an array with {} entries", array.as_slice().len())
        }
        other => format!("{other:?}"),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    let bytes = &bytes[..bytes.len().min(VALUE_MAX)];
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Derives an id for a delivery that is not a message, the same at each redelivery.
fn stable_id(delivery: &Delivery, why: &str, headers: &BTreeMap<String, String>) -> MessageId {
    let mut content = format!("{why}\n{headers:?}\n").into_bytes();
    content.extend_from_slice(&delivery.data);
    MessageId(Uuid::new_v5(&FOREIGN, &content))
}
