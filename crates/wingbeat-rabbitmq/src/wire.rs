//! The CloudEvents 1.0 binding for AMQP, in binary mode (section 3.1): attributes are application
//! headers, and the data is the body.
//!
//! Messages of Wingbeat have all attributes. Messages of foreign publishers need an id and a
//! source; the routing key replaces an absent type. An id that is not a UUID is mapped onto one,
//! the same each time.

use std::collections::BTreeMap;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable};
use uuid::Uuid;
use wingbeat_core::envelope::BODY_MAX;
use wingbeat_core::transport::{Broken, DeadLettered, Fault, Undecodable};
use wingbeat_core::{Envelope, Kind, MessageId, Timestamp};

use crate::topology::Names;

const PREFIX: &str = "cloudEvents:";
const PERSISTENT: u8 = 2;
/// The number of bytes that a dead letter keeps of a body that is too large.
const KEPT: usize = 64 << 10;
/// The namespace for UUIDs of foreign ids (RFC 9562, section 5.5): a random constant.
const FOREIGN: Uuid = Uuid::from_u128(0x5f1b_64e7_7d0a_4f2e_9b1c_0c8e_53a1_77d4);

/// Encodes the attributes of a message as properties.
pub(crate) fn properties(message: &Envelope) -> BasicProperties {
    let mut headers = FieldTable::default();
    let mut set = |name: &str, value: String| {
        headers.insert(
            format!("{PREFIX}{name}").into(),
            AMQPValue::LongString(value.into()),
        );
    };
    set("specversion", "1.0".into());
    set("id", message.id.to_string());
    set("source", message.source.to_string());
    set("type", message.kind.to_string());
    set("subject", message.key.clone());
    set("partitionkey", message.key.clone());
    set("time", message.time.to_string());
    set("correlationid", message.correlation.to_string());
    if let Some(causation) = message.causation {
        set("causationid", causation.to_string());
    }
    if let Some(sequence) = message.sequence {
        set("sequence", sequence.to_string());
    }
    if let Some(operation) = &message.operation {
        set("operationid", operation.clone());
    }
    if let Some(traceparent) = message.traceparent {
        set("traceparent", traceparent.to_string());
    }
    BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_content_type("application/json".into())
        .with_message_id(message.id.to_string().into())
        .with_headers(headers)
}

/// Decodes a delivery.
pub(crate) fn envelope(delivery: &Delivery, names: &Names) -> Result<Envelope, Undecodable> {
    let whole = delivery.data.len();
    let kept = if whole > BODY_MAX { KEPT } else { whole };
    let body = Bytes::copy_from_slice(&delivery.data[..kept]);
    let id = check_size(delivery).and_then(|()| identity(delivery));
    let (id, source) = id.map_err(|(fault, why)| undecodable(delivery, fault, why, &body))?;
    let attribute = |name| text_of(delivery, name).ok().flatten();
    let uuid = |text: String| Uuid::parse_str(&text).ok();
    let key = attribute("partitionkey").or_else(|| attribute("subject"));
    let ours = header(delivery, "partitionkey").is_some();
    let role = if original_exchange(delivery, names) == names.commands {
        Kind::Command
    } else {
        Kind::Event
    };
    Ok(Envelope {
        id: id.into(),
        source: source.into(),
        kind: kind(delivery).into(),
        role,
        // A message of a foreign publisher without a key needs no order: its id is its key.
        key: key.unwrap_or_else(|| if ours { String::new() } else { id.to_string() }),
        time: attribute("time").and_then(time).unwrap_or_default(),
        correlation: attribute("correlationid")
            .and_then(uuid)
            .unwrap_or(id)
            .into(),
        causation: attribute("causationid").and_then(uuid).map(MessageId),
        sequence: attribute("sequence").and_then(|sequence| sequence.parse().ok()),
        operation: attribute("operationid"),
        traceparent: attribute("traceparent").and_then(|text| text.parse().ok()),
        body,
    })
}

type Problem = (Fault, String);

fn check_size(delivery: &Delivery) -> Result<(), Problem> {
    let size = delivery.data.len();
    if size <= BODY_MAX {
        return Ok(());
    }
    let text =
        format!("the body has {size} bytes, more than {BODY_MAX}; the first {KEPT} bytes are kept");
    Err((Fault::TooLarge, text))
}

/// Returns the id and the source, which identify a message, after checking that it is a CloudEvent
/// in JSON.
fn identity(delivery: &Delivery) -> Result<(Uuid, String), Problem> {
    let undecodable = |why: String| (Fault::Undecodable, why);
    let attribute = |name| text_of(delivery, name).map_err(undecodable);
    let properties = &delivery.properties;
    let by_property = || properties.message_id().as_ref().map(ToString::to_string);
    let id = attribute("id")?.or_else(by_property);
    let id =
        id.ok_or_else(|| undecodable("neither `cloudEvents:id` nor `message_id` is set".into()))?;
    let source = attribute("source")?;
    let source = source.ok_or_else(|| undecodable("`cloudEvents:source` is not set".into()))?;
    if attribute("specversion")?.is_some_and(|version| version != "1.0") {
        return Err(undecodable("`cloudEvents:specversion` is not 1.0".into()));
    }
    attribute("type")?;
    let content = properties.content_type().as_ref();
    if let Some(other) = content.filter(|content| !is_json(content.as_str())) {
        return Err(undecodable(format!(
            "the content type is `{other}` instead of `application/json`"
        )));
    }
    let id = Uuid::parse_str(&id).unwrap_or_else(|_| foreign(&source, &id));
    Ok((id, source))
}

/// Returns whether a content type is JSON. Parameters such as a charset are ignored.
fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.is_empty() || essence.eq_ignore_ascii_case("application/json")
}

/// Returns the message type; without the attribute, the routing key.
fn kind(delivery: &Delivery) -> String {
    let kind = text_of(delivery, "type").ok().flatten();
    kind.unwrap_or_else(|| delivery.routing_key.to_string())
}

/// Returns the original queue of a message that the broker has dead-lettered.
pub(crate) fn dead_lettered(delivery: &Delivery, names: &Names) -> Option<DeadLettered> {
    let queue = broker_header(delivery, "x-first-death-queue")?;
    let reason = broker_header(delivery, "x-first-death-reason");
    Some(DeadLettered {
        queue: names.without_namespace(&queue).to_owned(),
        reason: reason.unwrap_or_default(),
    })
}

/// Returns the exchange that the message was published to. The broker names it in a header when it
/// dead-letters a message through another exchange; on other messages a publisher may have forged
/// it.
fn original_exchange(delivery: &Delivery, names: &Names) -> String {
    let exchange = delivery.exchange.to_string();
    if exchange == names.events || exchange == names.commands {
        return exchange;
    }
    broker_header(delivery, "x-first-death-exchange").unwrap_or(exchange)
}

/// Returns a header that the broker sets.
fn broker_header(delivery: &Delivery, name: &str) -> Option<String> {
    text(delivery.properties.headers().as_ref()?.inner().get(name)?)
}

fn time(text: String) -> Option<Timestamp> {
    serde_json::from_value(serde_json::Value::String(text)).ok()
}

/// Returns the header of an attribute. The AMQP binding also allows the prefix `cloudEvents_`, for
/// clients that cannot send a colon.
fn header<'a>(delivery: &'a Delivery, name: &str) -> Option<&'a AMQPValue> {
    let headers = delivery.properties.headers().as_ref()?.inner();
    headers
        .get(format!("{PREFIX}{name}").as_str())
        .or_else(|| headers.get(format!("cloudEvents_{name}").as_str()))
}

/// Returns an attribute as text; `None` if it is absent or empty.
fn text_of(delivery: &Delivery, name: &str) -> Result<Option<String>, String> {
    let Some(value) = header(delivery, name) else {
        return Ok(None);
    };
    let text = text(value).ok_or_else(|| format!("`{PREFIX}{name}` is not a text"))?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// Converts a value to text. Bytes that are not UTF-8 are refused: with replacement characters, two
/// ids could become equal.
fn text(value: &AMQPValue) -> Option<String> {
    Some(match value {
        AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok()?.to_owned(),
        AMQPValue::ShortString(text) => text.to_string(),
        AMQPValue::LongLongInt(number) => number.to_string(),
        AMQPValue::LongInt(number) => number.to_string(),
        AMQPValue::LongUInt(number) => number.to_string(),
        AMQPValue::ShortInt(number) => number.to_string(),
        AMQPValue::Boolean(it) => it.to_string(),
        _ => return None,
    })
}

fn undecodable(delivery: &Delivery, fault: Fault, why: String, body: &Bytes) -> Undecodable {
    let headers = headers_as_text(delivery);
    Undecodable {
        id: stable_id(delivery, &why, &headers),
        kind: kind(delivery),
        raw: body.clone(),
        broken: Broken {
            fault,
            why,
            headers,
        },
    }
}

/// Returns headers and properties for the operator who reads the dead letter.
fn headers_as_text(delivery: &Delivery) -> BTreeMap<String, String> {
    let properties = &delivery.properties;
    let shown = |value: &AMQPValue| text(value).unwrap_or_else(|| format!("{value:?}"));
    let headers = properties.headers().iter().flat_map(|table| table.inner());
    // Headers of the broker, such as the delivery count, differ between redeliveries.
    let headers = headers.filter(|(name, _)| !name.as_str().starts_with("x-"));
    let mut all: BTreeMap<String, String> = headers
        .map(|(name, value)| (name.to_string(), shown(value)))
        .collect();
    let known = [
        ("message_id", properties.message_id().as_ref()),
        ("content_type", properties.content_type().as_ref()),
        ("routing_key", Some(&delivery.routing_key)),
    ];
    for (name, value) in known {
        all.extend(value.map(|value| (name.to_owned(), value.to_string())));
    }
    all
}

/// Maps the id of a foreign publisher onto a UUID.
fn foreign(source: &str, id: &str) -> Uuid {
    Uuid::new_v5(&FOREIGN, format!("{source}\n{id}").as_bytes())
}

/// Derives an id for a delivery that is not a message, the same at each redelivery.
fn stable_id(delivery: &Delivery, why: &str, headers: &BTreeMap<String, String>) -> MessageId {
    let mut content = format!("{why}\n{headers:?}\n").into_bytes();
    content.extend_from_slice(&delivery.data);
    MessageId(Uuid::new_v5(&FOREIGN, &content))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    fn names() -> Names {
        Names::new(&Config::new(""))
    }

    fn read(delivery: &Delivery) -> Result<Envelope, Undecodable> {
        envelope(delivery, &names())
    }

    fn delivery(headers: &[(&str, &str)], message_id: Option<&str>) -> Delivery {
        let mut table = FieldTable::default();
        for (name, value) in headers {
            table.insert((*name).into(), AMQPValue::LongString((*value).into()));
        }
        let mut delivery = Delivery::mock(
            1,
            names().events.into(),
            "shop.done.v1".into(),
            false,
            b"{}".to_vec(),
        );
        delivery.properties = BasicProperties::default().with_headers(table);
        if let Some(id) = message_id {
            delivery.properties = delivery.properties.with_message_id(id.into());
        }
        delivery
    }

    #[test]
    fn a_foreign_message_needs_an_id_and_a_source() {
        let foreign = delivery(
            &[("cloudEvents:source", "crm"), ("cloudEvents:id", "order-7")],
            None,
        );
        let one = read(&foreign).expect("id and source suffice");
        assert_eq!((one.kind.as_ref(), one.role), ("shop.done.v1", Kind::Event));
        let again = read(&foreign).expect("id and source suffice");
        assert_eq!(one.id, again.id, "the id is the same each time");
        let other = delivery(
            &[("cloudEvents:source", "erp"), ("cloudEvents:id", "order-7")],
            None,
        );
        assert_ne!(one.id, read(&other).expect("id and source suffice").id);
        let by_property = delivery(&[("cloudEvents_source", "crm")], Some("9"));
        assert!(read(&by_property).is_ok());
    }

    #[test]
    fn the_header_of_the_original_exchange_counts_only_after_dead_lettering() {
        let headers = [
            ("cloudEvents:source", "crm"),
            ("cloudEvents:id", "7"),
            ("x-first-death-exchange", &*names().commands),
        ];
        let mut published = delivery(&headers, None);
        assert_eq!(read(&published).expect("it is a message").role, Kind::Event);
        published.exchange = "wingbeat.dead".into();
        assert_eq!(
            read(&published).expect("it is a message").role,
            Kind::Command
        );
    }

    #[test]
    fn an_undecodable_delivery_names_the_problem_and_keeps_its_id() {
        for broken in [
            delivery(&[], None),
            delivery(&[("cloudEvents:id", "7")], None),
            delivery(
                &[
                    ("cloudEvents:id", "7"),
                    ("cloudEvents:source", "s"),
                    ("cloudEvents:specversion", "0.3"),
                ],
                None,
            ),
        ] {
            let one = read(&broken).expect_err("an attribute is missing");
            let again = read(&broken).expect_err("an attribute is missing");
            assert_eq!(one, again);
            let why = &one.broken.why;
            assert!(why.contains("cloudEvents:"), "{why}");
        }
    }

    #[test]
    fn an_id_that_is_not_utf_8_is_refused() {
        let of = |id: &[u8]| {
            let mut delivery = delivery(&[("cloudEvents:source", "s")], Some("7"));
            let mut table = delivery
                .properties
                .headers()
                .clone()
                .expect("headers are set");
            table.insert("cloudEvents:id".into(), AMQPValue::LongString(id.into()));
            delivery.properties = delivery.properties.with_headers(table);
            read(&delivery)
        };
        let (one, other) = (of(b"\xfe"), of(b"\xff"));
        let one = one.expect_err("not UTF-8");
        let other = other.expect_err("not UTF-8");
        assert_eq!(one.broken.why, "`cloudEvents:id` is not a text");
        assert_ne!(one.id, other.id);
    }

    #[test]
    fn only_json_up_to_the_size_limit_is_accepted() {
        let of = |content_type: &str, size: usize| {
            let mut delivery = delivery(
                &[("cloudEvents:source", "s"), ("cloudEvents:id", "7")],
                None,
            );
            let properties = delivery.properties.clone();
            delivery.properties = properties.with_content_type(content_type.into());
            delivery.data = vec![b' '; size];
            read(&delivery).map_err(|it| it.broken.fault)
        };
        assert!(of("application/json; charset=utf-8", 2).is_ok());
        assert_eq!(of("text/xml", 2), Err(Fault::Undecodable));
        assert!(of("application/json", BODY_MAX).is_ok());
        assert_eq!(of("application/json", BODY_MAX + 1), Err(Fault::TooLarge));
    }

    #[test]
    fn an_undecodable_delivery_keeps_its_headers() {
        let broken = delivery(&[("cloudEvents:id", "sale-7"), ("till", "3")], None);
        let undecodable = read(&broken).expect_err("the source is missing");
        assert_eq!(undecodable.kind, "shop.done.v1");
        let headers = undecodable.broken.headers;
        assert_eq!(headers["cloudEvents:id"], "sale-7");
        assert_eq!(headers["till"], "3");
    }
}
