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
