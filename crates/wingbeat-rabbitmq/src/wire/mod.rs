//! The CloudEvents 1.0 binding for AMQP, in binary mode (section 3.1): attributes are application
//! headers, and the data is the body.
//!
//! Messages of Wingbeat have all attributes. Messages of foreign publishers need an id and a
//! source; the routing key replaces an absent type, and the AMQP timestamp or the time of receipt
//! an absent time. An id that is not a UUID is mapped onto one, the same each time.
//!
//! - `decode`: deliveries as envelopes.
//! - `value`: attributes and their types.
//! - `broken`: deliveries that are not messages.

mod broken;
mod decode;
mod value;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use uuid::Uuid;
use wingbeat_core::bodies::BodyRef;
use wingbeat_core::{Dialog, Envelope};

use crate::topology::Names;

pub(crate) use decode::{dead_lettered, envelope};

const PREFIX: &str = "cloudEvents:";
const PERSISTENT: u8 = 2;
/// The namespace for UUIDs of foreign ids (RFC 9562, section 5.5): a random constant.
const FOREIGN: Uuid = Uuid::from_u128(0x5f1b_64e7_7d0a_4f2e_9b1c_0c8e_53a1_77d4);

const CONTENT_TYPE: &str = "application/json";

/// Returns the attributes of a message as headers.
fn attributes(message: &Envelope) -> Vec<(String, String)> {
    let mut headers = Vec::with_capacity(16);
    let mut set = |name: &str, value: String| headers.push((format!("{PREFIX}{name}"), value));
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
    if let Some(tracestate) = message.propagation.tracestate() {
        set("tracestate", tracestate.to_owned());
    }
    if let Some(Dialog::Request { deadline, .. }) = &message.dialog {
        set("deadline", deadline.to_string());
    }
    if let Some(stored) = BodyRef::of(&message.body) {
        set("dataref", stored.uri());
    }
    if let Some(signature) = &message.signature {
        set("signature", signature.to_string());
    }
    // Baggage is no CloudEvents attribute. Instrumentations read the header of this name.
    if let Some(baggage) = message.propagation.baggage() {
        headers.push(("baggage".into(), baggage.to_owned()));
    }
    headers
}

/// Encodes the attributes of a message as properties. Also returns the size of the frame that they
/// need: RabbitMQ closes the connection of a publisher whose content header exceeds a frame.
pub(crate) fn properties(message: &Envelope, names: &Names) -> (BasicProperties, usize) {
    // Frame: head and end (8 bytes). Content header: class, weight, size of the body, flags (14).
    // Table: its length (4); per header the lengths of name and value, and a type (6).
    let id = message.id.to_string();
    let mut size = 8 + 14 + 1 + CONTENT_TYPE.len() + 4 + 1 + 1 + id.len();
    let mut headers = FieldTable::default();
    for (name, value) in attributes(message) {
        size += 6 + name.len() + value.len();
        headers.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    let mut properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_content_type(CONTENT_TYPE.into())
        .with_message_id(id.into())
        .with_headers(headers);
    if let Some(request) = request_of(message) {
        size += 1 + request.len();
        properties = properties.with_correlation_id(request.into());
    }
    if let Some(Dialog::Request { reply_to, .. }) = &message.dialog {
        let queue = names.reply_queue(reply_to);
        size += 1 + queue.len();
        properties = properties.with_reply_to(queue.into());
    }
    (properties, size)
}

/// Returns the id of the request in a dialog. RPC over AMQP has it as correlation id.
fn request_of(message: &Envelope) -> Option<String> {
    Some(match message.dialog.as_ref()? {
        Dialog::Request { .. } => message.id.to_string(),
        Dialog::Reply { .. } => message.causation?.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use lapin::message::Delivery;
    use wingbeat_core::envelope::BODY_MAX;
    use wingbeat_core::transport::{Fault, Undecodable};
    use wingbeat_core::{Kind, Timestamp};

    use super::*;
    use crate::Config;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn names() -> Names {
        Names::new(&Config::new(""))
    }

    fn read(delivery: &Delivery) -> Result<Envelope, Undecodable> {
        envelope(delivery, &names(), NOW)
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
            ("x-first-death-exchange", "forged"),
        ];
        let mut published = delivery(&headers, None);
        let mut death = FieldTable::default();
        let exchange = AMQPValue::LongString(names().commands.into());
        death.insert("exchange".into(), exchange);
        let mut headers = published.properties.headers().clone().expect("set");
        let deaths = vec![AMQPValue::FieldTable(death)];
        headers.insert("x-death".into(), AMQPValue::FieldArray(deaths.into()));
        published.properties = published.properties.with_headers(headers);
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

    #[test]
    fn the_size_of_a_content_header_is_known() {
        let id = wingbeat_core::ids::uuid_v7(NOW, 7);
        let message = Envelope {
            id: id.into(),
            source: "s".into(),
            kind: "shop.done.v1".into(),
            role: Kind::Event,
            key: "k".repeat(100),
            time: NOW,
            correlation: id.into(),
            causation: Some(id.into()),
            sequence: Some(7),
            operation: Some("o".into()),
            traceparent: Some(wingbeat_core::TraceParent::of(id)),
            propagation: wingbeat_core::Propagation::new(Some("v=1"), Some("a=b")),
            signature: Some(wingbeat_core::Signature::new([7; 64])),
            dialog: Some(Dialog::Request {
                reply_to: "wingbeat.replies.s.1".into(),
                deadline: NOW,
            }),
            body: "{}".into(),
        };
        let (properties, size) = super::properties(&message, &names());
        let written = {
            let mut buffer = vec![0; 4_096];
            let generate = lapin::protocol::basic::gen_properties(&properties);
            let written = generate((&mut buffer[..]).into()).expect("it fits");
            written.into_inner().1
        };
        // The head and the end of the frame, class, weight and size of the body.
        assert_eq!(size as u64, written + 8 + 12);
        let delivery = Delivery {
            properties,
            ..delivery(&[], None)
        };
        assert_eq!(read(&delivery), Ok(message));
    }

    /// Programs in other languages tell a reference by its header.
    #[test]
    fn a_reference_to_a_large_body_has_a_header() {
        let stored = wingbeat_core::bodies::BodyRef {
            day: 20_651,
            size: 5_000_000,
            digest: [0xab; 32],
        };
        let of = |body: bytes::Bytes| {
            let foreign = delivery(
                &[("cloudEvents:source", "crm"), ("cloudEvents:id", "7")],
                None,
            );
            let message = Envelope {
                body,
                ..read(&foreign).expect("it is a message")
            };
            let headers = super::attributes(&message).into_iter();
            let mut found = headers.filter(|(name, _)| name == "cloudEvents:dataref");
            found.next().map(|(_, value)| value)
        };
        let digits = "ab".repeat(32);
        let uri = format!("wingbeat-body:20651/{digits}?size=5000000");
        assert_eq!(of(stored.body()), Some(uri));
        assert_eq!(of("{}".into()), None);
    }

    #[test]
    fn a_message_with_every_attribute_at_its_limit_fits_a_frame() {
        use wingbeat_core::envelope::{KEY_MAX, KIND_MAX, SOURCE_MAX};
        use wingbeat_core::propagation::{BAGGAGE_MAX, TRACESTATE_MAX};
        let id = wingbeat_core::ids::uuid_v7(NOW, 7);
        let (state, baggage) = ("t".repeat(TRACESTATE_MAX), "b".repeat(BAGGAGE_MAX));
        let message = Envelope {
            id: id.into(),
            source: "s".repeat(SOURCE_MAX).into(),
            kind: "k".repeat(KIND_MAX).into(),
            role: Kind::Event,
            key: "k".repeat(KEY_MAX),
            time: NOW,
            correlation: id.into(),
            causation: Some(id.into()),
            sequence: Some(u64::MAX),
            operation: Some("o".repeat(KEY_MAX)),
            traceparent: Some(wingbeat_core::TraceParent::of(id)),
            propagation: wingbeat_core::Propagation::new(Some(&state), Some(&baggage)),
            signature: Some(wingbeat_core::Signature::new([7; 64])),
            dialog: Some(Dialog::Request {
                reply_to: "q".repeat(KIND_MAX),
                deadline: NOW,
            }),
            body: "{}".into(),
        };
        assert_eq!(message.check(), Ok(()));
        let (_, size) = super::properties(&message, &names());
        // As `docs/errors/impossible.md` and `connection` say.
        assert!(size < 36 << 10, "{size} bytes");
    }

    #[test]
    fn a_time_may_be_an_amqp_timestamp() {
        let mut timed = delivery(&[("cloudEvents:source", "s")], Some("7"));
        assert_eq!(read(&timed).expect("a message").time, NOW, "received");
        let headers = timed.properties.headers().clone().expect("headers are set");
        timed.properties = timed.properties.with_timestamp(5);
        let second = |number: i64| Timestamp::from_millis(number * 1_000);
        assert_eq!(read(&timed).expect("a message").time, second(5));
        let with = |value: AMQPValue| {
            let mut headers = headers.clone();
            headers.insert("cloudEvents:time".into(), value);
            let properties = timed.properties.clone().with_headers(headers);
            let delivery = Delivery {
                properties,
                ..delivery(&[], None)
            };
            read(&delivery)
                .map(|it| it.time)
                .map_err(|it| it.broken.why)
        };
        assert_eq!(with(AMQPValue::Timestamp(7)), Ok(second(7)));
        let text = AMQPValue::LongString("1970-01-01T00:00:09Z".into());
        assert_eq!(with(text), Ok(second(9)));
        for invalid in [
            AMQPValue::Timestamp(u64::MAX),
            AMQPValue::LongString("now".into()),
            AMQPValue::Boolean(true),
        ] {
            let why = "`cloudEvents:time` is no time in RFC 3339".to_owned();
            assert_eq!(with(invalid), Err(why));
        }
    }

    #[test]
    fn headers_without_a_prefix_carry_a_trace() {
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let headers = [
            ("cloudEvents:source", "crm"),
            ("traceparent", trace),
            ("tracestate", "vendor=1"),
            ("baggage", "tenant=7"),
        ];
        let message = read(&delivery(&headers, Some("7"))).expect("a message");
        assert_eq!(
            message.traceparent.map(|it| it.to_string()).as_deref(),
            Some(trace)
        );
        assert_eq!(message.propagation.tracestate(), Some("vendor=1"));
        assert_eq!(message.propagation.baggage(), Some("tenant=7"));
        let without = [headers[0], headers[2]];
        let message = read(&delivery(&without, Some("7"))).expect("a message");
        assert_eq!(message.propagation.tracestate(), None, "there is no trace");
    }
}
