//! Decodes deliveries.

use bytes::Bytes;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable};
use uuid::Uuid;
use wingbeat_core::envelope::{KIND_MAX, Unfit};
use wingbeat_core::transport::{DeadLettered, Fault, Undecodable};
use wingbeat_core::{Dialog, Envelope, Kind, MessageId, Propagation, Timestamp};

use super::broken::{Problem, found_by_guard, kind, undecodable};
use super::value::{header, parsed, plain, text, text_of, time_of};
use super::{CONTENT_TYPE, FOREIGN};
use crate::topology::Names;

/// Decodes a delivery that was received at `now`.
pub(crate) fn envelope(
    delivery: &Delivery,
    names: &Names,
    now: Timestamp,
) -> Result<Envelope, Undecodable> {
    decode(delivery, names, now).map_err(|problem| undecodable(delivery, problem))
}

fn decode(delivery: &Delivery, names: &Names, now: Timestamp) -> Result<Envelope, Problem> {
    if let Some(problem) = found_by_guard(delivery) {
        return Err(problem);
    }
    let undecodable = |why| (Fault::Undecodable, why);
    let attribute = |name| text_of(delivery, name).map_err(undecodable);
    let field = |name: &str| text_of(delivery, name).ok().flatten();
    let (id, source) = identity(delivery)?;
    let uuid = |text: String| Uuid::parse_str(&text).ok();
    let key = match attribute("partitionkey")? {
        Some(key) => Some(key),
        None => attribute("subject")?,
    };
    let ours = header(delivery, "partitionkey").is_some();
    let exchange = original_exchange(delivery, names);
    let role = names.kind_of(&exchange).unwrap_or(Kind::Event);
    let dialog = dialog(delivery, names, field("deadline").and_then(parsed));
    let replied = match &dialog {
        Some(Dialog::Reply { .. }) => property(delivery.properties.correlation_id()),
        _ => None,
    };
    // OpenTelemetry's instrumentations use headers without a prefix.
    let traced = |name: &str| field(name).or_else(|| text(plain(delivery, name)?));
    let traceparent = traced("traceparent").and_then(|text| text.parse().ok());
    let tracestate = traceparent.and_then(|_| traced("tracestate"));
    let envelope = Envelope {
        id: id.into(),
        source: source.into(),
        kind: kind(delivery).into(),
        role,
        // A message of a foreign publisher without a key needs no order: its id is its key.
        key: key.unwrap_or_else(|| if ours { String::new() } else { id.to_string() }),
        time: time_of(delivery).map_err(undecodable)?.unwrap_or(now),
        correlation: field("correlationid").and_then(uuid).unwrap_or(id).into(),
        causation: field("causationid")
            .or(replied)
            .and_then(uuid)
            .map(MessageId),
        sequence: field("sequence").and_then(|sequence| sequence.parse().ok()),
        operation: attribute("operationid")?,
        traceparent,
        propagation: Propagation::new(tracestate.as_deref(), traced("baggage").as_deref()),
        // A signature that is malformed is none.
        signature: field("signature").and_then(|signature| signature.parse().ok()),
        dialog,
        body: Bytes::copy_from_slice(&delivery.data),
    };
    envelope.check().map_err(|unfit| {
        let fault = match unfit {
            Unfit::TooLarge { .. } => Fault::TooLarge,
            Unfit::ForbiddenCharacter { .. } => Fault::Undecodable,
        };
        (fault, unfit.to_string())
    })?;
    Ok(envelope)
}

/// Returns the part of a message in a dialog. A request names the queue of its reply as AMQP does,
/// and has a deadline. A reply comes from the exchange of replies, or from the default exchange.
fn dialog(delivery: &Delivery, names: &Names, deadline: Option<Timestamp>) -> Option<Dialog> {
    let queue = |name: &str| names.without_namespace(name).to_owned();
    let (exchange, key) = (delivery.exchange.as_str(), delivery.routing_key.as_str());
    if exchange == names.replies || exchange.is_empty() && names.is_reply_queue(key) {
        return Some(Dialog::Reply { to: queue(key) });
    }
    let reply_to = property(delivery.properties.reply_to())?;
    Some(Dialog::Request {
        reply_to: queue(&reply_to),
        deadline: deadline?,
    })
}

fn property(value: &Option<lapin::types::ShortString>) -> Option<String> {
    value.as_ref().map(ToString::to_string)
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
            "the content type is `{other}` instead of `{CONTENT_TYPE}`"
        )));
    }
    let id = Uuid::parse_str(&id).unwrap_or_else(|_| foreign(&source, &id));
    Ok((id, source))
}

/// Returns whether a content type is JSON. Parameters such as a charset are ignored.
fn is_json(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    essence.is_empty() || essence.eq_ignore_ascii_case(CONTENT_TYPE)
}

/// Maps the id of a foreign publisher onto a UUID.
fn foreign(source: &str, id: &str) -> Uuid {
    Uuid::new_v5(&FOREIGN, format!("{source}\n{id}").as_bytes())
}

/// Returns the original queue of a message that the broker has dead-lettered.
pub(crate) fn dead_lettered(delivery: &Delivery, names: &Names) -> Option<DeadLettered> {
    let queue = last_death(delivery, "queue")?;
    let queue = names.without_namespace(&queue);
    // Names of queues are ASCII without spaces. Anything else was never declared here.
    let declared = queue.bytes().all(|byte| byte.is_ascii_graphic()) && queue.len() <= KIND_MAX;
    Some(DeadLettered {
        queue: if declared { queue } else { "unknown" }.to_owned(),
        reason: last_death(delivery, "reason").unwrap_or_default(),
    })
}

/// Returns the exchange that the message was published to. The broker names it in a header when it
/// dead-letters a message through another exchange; on other messages a publisher may have forged
/// it.
fn original_exchange(delivery: &Delivery, names: &Names) -> String {
    let exchange = delivery.exchange.to_string();
    if names.kind_of(&exchange).is_some() {
        return exchange;
    }
    last_death(delivery, "exchange").unwrap_or(exchange)
}

/// Returns a field of the first entry of `x-death`: the broker puts the last death first. It sets
/// the headers `x-first-death-…` only if they are absent, so a publisher can forge them.
fn last_death(delivery: &Delivery, field: &str) -> Option<String> {
    let AMQPValue::FieldArray(deaths) = plain(delivery, "x-death")? else {
        return None;
    };
    let AMQPValue::FieldTable(last) = deaths.as_slice().first()? else {
        return None;
    };
    text(FieldTable::inner(last).get(field)?)
}
