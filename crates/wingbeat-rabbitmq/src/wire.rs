//! Messages as CloudEvents 1.0 in AMQP's binary mode (the AMQP protocol binding, section 3.1): attributes are
//! application headers, the data is the body.
//!
//! What we publish has all attributes. What strangers publish needs an id, a source and a type (the routing key
//! stands for an absent type); ids that are not UUIDs are mapped onto one, the same each time.

use std::collections::BTreeMap;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable};
use uuid::Uuid;
use wingbeat_core::envelope::BODY_MAX;
use wingbeat_core::transport::{Broken, Fault, GivenUp, Undecodable};
use wingbeat_core::{Envelope, Kind, MessageId, Timestamp};

use crate::topology::Names;

const PREFIX: &str = "cloudEvents:";
const PERSISTENT: u8 = 2;
/// What is kept of a body that is too large.
const KEPT: usize = 64 << 10;
/// The name space of ids that are not UUIDs: a constant drawn once.
const FOREIGN: Uuid = Uuid::from_u128(0x5f1b_64e7_7d0a_4f2e_9b1c_0c8e_53a1_77d4);

/// The properties of a message.
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

/// The message of a delivery, or why it is none.
pub(crate) fn envelope(delivery: &Delivery, names: &Names) -> Result<Envelope, Undecodable> {
    let whole = delivery.data.len();
    let kept = if whole > BODY_MAX { KEPT } else { whole };
    let body = Bytes::copy_from_slice(&delivery.data[..kept]);
    let id = sized(delivery).and_then(|()| identity(delivery));
    let (id, source) = id.map_err(|(fault, why)| undecodable(delivery, fault, why, &body))?;
    let attribute = |name| text_of(delivery, name).ok().flatten();
    let uuid = |text: String| Uuid::parse_str(&text).ok();
    let key = attribute("partitionkey").or_else(|| attribute("subject"));
    let ours = header(delivery, "partitionkey").is_some();
    let role = match came_by(delivery, names) == names.commands {
        true => Kind::Command,
        false => Kind::Event,
    };
    Ok(Envelope {
        id: id.into(),
        source: source.into(),
        kind: kind(delivery).into(),
        role,
        // Without a key, messages need no order among each other.
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

type Why = (Fault, String);

/// Larger messages cannot be sent here, and are not taken either.
fn sized(delivery: &Delivery) -> Result<(), Why> {
    let size = delivery.data.len();
    match size > BODY_MAX {
        true => Err((
            Fault::TooLarge,
            format!(
                "the body has {size} bytes, and {BODY_MAX} at most are taken; the first {KEPT} are kept"
            ),
        )),
        false => Ok(()),
    }
}

/// Id and source, by which a message is known when it comes again, of what claims to be a CloudEvent in JSON.
fn identity(delivery: &Delivery) -> Result<(Uuid, String), Why> {
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
            "the content type is `{other}` and not `application/json`"
        )));
    }
    let id = Uuid::parse_str(&id).unwrap_or_else(|_| foreign(&source, &id));
    Ok((id, source))
}

/// JSON, perhaps with parameters such as a charset.
fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.is_empty() || essence.eq_ignore_ascii_case("application/json")
}

/// The type, or the route it came by.
fn kind(delivery: &Delivery) -> String {
    let told = text_of(delivery, "type").ok().flatten();
    told.unwrap_or_else(|| delivery.routing_key.to_string())
}

/// What the broker says that it did with this message, if it moved it by itself.
pub(crate) fn given_up(delivery: &Delivery, names: &Names) -> Option<GivenUp> {
    let queue = of_broker(delivery, "x-first-death-queue")?;
    let why = of_broker(delivery, "x-first-death-reason");
    Some(GivenUp {
        queue: names.plain(&queue).to_owned(),
        why: why.unwrap_or_default(),
    })
}

/// The exchange that it was published to. What the broker gives up on it moves through another one, and says so; what
/// others say in that header means nothing.
fn came_by(delivery: &Delivery, names: &Names) -> String {
    let exchange = delivery.exchange.to_string();
    if exchange == names.events || exchange == names.commands {
        return exchange;
    }
    of_broker(delivery, "x-first-death-exchange").unwrap_or(exchange)
}

/// A header of the broker's own.
fn of_broker(delivery: &Delivery, name: &str) -> Option<String> {
    text(delivery.properties.headers().as_ref()?.inner().get(name)?)
}

fn time(text: String) -> Option<Timestamp> {
    serde_json::from_value(serde_json::Value::String(text)).ok()
}

/// An attribute's header; the AMQP binding also knows `cloudEvents_`, for clients that cannot send a colon.
fn header<'a>(delivery: &'a Delivery, name: &str) -> Option<&'a AMQPValue> {
    let headers = delivery.properties.headers().as_ref()?.inner();
    headers
        .get(format!("{PREFIX}{name}").as_str())
        .or_else(|| headers.get(format!("cloudEvents_{name}").as_str()))
}

/// An attribute as text, if it is set and not empty.
fn text_of(delivery: &Delivery, name: &str) -> Result<Option<String>, String> {
    let Some(value) = header(delivery, name) else {
        return Ok(None);
    };
    let text = text(value).ok_or_else(|| format!("`{PREFIX}{name}` is not a text"))?;
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// Bytes that are no UTF-8 are no text: replaced, two ids could become one.
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
    let headers = as_they_came(delivery);
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

/// Headers and properties, for the person who looks at the dead letter.
fn as_they_came(delivery: &Delivery) -> BTreeMap<String, String> {
    let properties = &delivery.properties;
    let shown = |value: &AMQPValue| text(value).unwrap_or_else(|| format!("{value:?}"));
    let headers = properties.headers().iter().flat_map(|table| table.inner());
    // How often the broker handed it out says nothing about the message.
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

fn foreign(source: &str, id: &str) -> Uuid {
    Uuid::new_v5(&FOREIGN, format!("{source}\n{id}").as_bytes())
}

/// An id for something that is not a message, the same over redeliveries.
fn stable_id(delivery: &Delivery, why: &str, headers: &BTreeMap<String, String>) -> MessageId {
    let mut told = format!("{why}\n{headers:?}\n").into_bytes();
    told.extend_from_slice(&delivery.data);
    MessageId(Uuid::new_v5(&FOREIGN, &told))
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
    fn a_stranger_needs_an_id_and_a_source() {
        let stranger = delivery(
            &[("cloudEvents:source", "crm"), ("cloudEvents:id", "order-7")],
            None,
        );
        let one = read(&stranger).expect("enough is told");
        assert_eq!((one.kind.as_ref(), one.role), ("shop.done.v1", Kind::Event));
        let again = read(&stranger).expect("enough is told");
        assert_eq!(one.id, again.id, "the same id each time");
        let other = delivery(
            &[("cloudEvents:source", "erp"), ("cloudEvents:id", "order-7")],
            None,
        );
        assert_ne!(one.id, read(&other).expect("enough is told").id);
        let by_property = delivery(&[("cloudEvents_source", "crm")], Some("9"));
        assert!(read(&by_property).is_ok());
    }

    #[test]
    fn only_the_broker_says_where_a_message_was_published_before() {
        let told = [
            ("cloudEvents:source", "crm"),
            ("cloudEvents:id", "7"),
            ("x-first-death-exchange", &*names().commands),
        ];
        let mut published = delivery(&told, None);
        assert_eq!(read(&published).expect("a message").role, Kind::Event);
        published.exchange = "wingbeat.dead".into();
        assert_eq!(read(&published).expect("a message").role, Kind::Command);
    }

    #[test]
    fn what_is_no_message_says_why_and_keeps_its_id() {
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
            let one = read(&broken).expect_err("it is none");
            let again = read(&broken).expect_err("it is none");
            assert_eq!(one, again);
            let why = &one.broken.why;
            assert!(why.contains("cloudEvents:"), "{why}");
        }
    }

    #[test]
    fn bytes_are_no_id_so_no_two_ids_become_one() {
        let of = |id: &[u8]| {
            let mut delivery = delivery(&[("cloudEvents:source", "s")], Some("7"));
            let mut table = delivery.properties.headers().clone().expect("it has some");
            table.insert("cloudEvents:id".into(), AMQPValue::LongString(id.into()));
            delivery.properties = delivery.properties.with_headers(table);
            read(&delivery)
        };
        let (one, other) = (of(b"\xfe"), of(b"\xff"));
        let (one, other) = (one.expect_err("no text"), other.expect_err("no text"));
        assert_eq!(one.broken.why, "`cloudEvents:id` is not a text");
        assert_ne!(one.id, other.id);
    }

    #[test]
    fn only_json_is_taken_and_only_so_much() {
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
    fn headers_are_kept_as_they_came() {
        let broken = delivery(&[("cloudEvents:id", "sale-7"), ("till", "3")], None);
        let told = read(&broken).expect_err("no source");
        assert_eq!(told.kind, "shop.done.v1");
        let headers = told.broken.headers;
        assert_eq!(headers["cloudEvents:id"], "sale-7");
        assert_eq!(headers["till"], "3");
    }
}
