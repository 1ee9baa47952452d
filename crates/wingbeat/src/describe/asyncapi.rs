//! AsyncAPI 3.0: the messages of a system, their senders and their receivers.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use wingbeat_core::{Kind, MessageType};

use super::{Info, System, cloud_event};

/// The rules for programs that are not built with Wingbeat.
const RULES: &str = "\
Messages are CloudEvents 1.0 over AMQP 0-9-1 in binary mode: attributes are headers, the body is the \
data. To receive a message, bind a queue of your own to the exchange of its channel, with the \
channel's address as routing key. To send a message, publish it to that exchange with that routing \
key: persistent, mandatory, with publisher confirms, and with the required headers of the trait \
`cloudEvent`. A message that a subscription cannot decode becomes a dead letter of that subscription.";

/// Returns the document.
pub(super) fn document(system: &System, info: &Info) -> Value {
    let (mut channels, mut messages) = (Map::new(), Map::new());
    let mut schemas = schemas();
    for message in system.messages() {
        channels.insert(message.name.into(), channel(&message));
        messages.insert(message.name.into(), described(&message, &mut schemas));
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {"title": info.title, "version": info.version, "description": introduction(info)},
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations(system),
        "components": {
            "messages": messages,
            "messageTraits": {"cloudEvent": cloud_event::message_trait()},
            "schemas": schemas.take_definitions(true),
        },
    })
}

/// AsyncAPI's own schema format extends draft 7 of JSON Schema.
fn schemas() -> SchemaGenerator {
    let settings = SchemaSettings::draft07().with(|it| {
        it.definitions_path = "/components/schemas".into();
        it.meta_schema = None;
    });
    settings.into_generator()
}

fn introduction(info: &Info) -> String {
    let own = info.description.trim();
    if own.is_empty() {
        return RULES.into();
    }
    format!("{own}\n\n{RULES}")
}

fn described(message: &MessageType, schemas: &mut SchemaGenerator) -> Value {
    let kind = match message.kind {
        Kind::Event => "event",
        Kind::Command => "command",
    };
    json!({
        "name": message.name,
        "tags": [{"name": kind}, {"name": message.owner()}],
        "traits": [{"$ref": "#/components/messageTraits/cloudEvent"}],
        "payload": message.schema_in(schemas),
    })
}

fn channel(message: &MessageType) -> Value {
    let (exchange, kind) = match message.kind {
        Kind::Event => ("wingbeat.events", "topic"),
        Kind::Command => ("wingbeat.commands", "direct"),
    };
    let name = message.name;
    json!({
        "address": name,
        "messages": {name: {"$ref": format!("#/components/messages/{name}")}},
        "bindings": {"amqp": {
            "is": "routingKey",
            "exchange": {"name": exchange, "type": kind, "durable": true},
        }},
    })
}

/// Returns an operation for each message of a subscription, and for each that a service publishes.
fn operations(system: &System) -> Map<String, Value> {
    let mut operations = Map::new();
    for service in &system.services {
        for subscription in &service.subscriptions {
            let queue = subscription.queue.as_str();
            for message in subscription.takes.iter().filter(|it| !it.internal) {
                let id = format!("{queue} receives {}", message.name);
                operations.insert(id, operation("receive", queue, message));
            }
        }
        let name = service.name.as_str();
        for message in service.publishes.iter().filter(|it| !it.internal) {
            let id = format!("{name} sends {}", message.name);
            operations.insert(id, operation("send", name, message));
        }
    }
    operations
}

fn operation(action: &str, title: &str, message: &MessageType) -> Value {
    json!({
        "action": action,
        "channel": {"$ref": format!("#/channels/{}", message.name)},
        "title": title,
        "bindings": {"amqp": {"deliveryMode": 2, "mandatory": true, "ack": true}},
    })
}
