//! `/openapi.json` and `/asyncapi.json`: the HTTP API as it is written down, and every message as its type
//! says it.

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Map, Value, json};
use shop_contracts::catalogue::{self, Described};
use wingbeat::{Kind, Topology};

/// The HTTP API.
pub const OPENAPI: &str = include_str!("openapi.json");

/// What somebody must know who is not of the shop.
const STRANGERS: &str = "Messages are CloudEvents 1.0 over AMQP 0-9-1 in binary mode: attributes are headers, \
the body is the data. To receive, bind a queue of your own to the exchange of a channel with its address as routing \
key. To send, publish to that exchange with that routing key: persistent, mandatory, with confirms, with the \
headers of the trait `cloudEvent` that are required. What cannot be understood becomes a dead letter of the \
subscription it reached.";

/// The routes, for services with these subscriptions.
pub fn routes(topology: &Topology) -> Router {
    let asyncapi = asyncapi(topology).to_string();
    Router::new()
        .route(
            "/openapi.json",
            get(|| async { json_of(OPENAPI.to_owned()) }),
        )
        .route("/asyncapi.json", get(|| async { json_of(asyncapi) }))
}

fn json_of(text: String) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// Every message as an AsyncAPI 3.0 document: a channel each, sent by its owner or to it, received by
/// whoever subscribes.
#[must_use]
pub fn asyncapi(topology: &Topology) -> Value {
    let (mut channels, mut operations, mut messages) = (Map::new(), Map::new(), Map::new());
    for message in catalogue::all() {
        let name = message.name;
        messages.insert(name.into(), described(&message));
        channels.insert(name.into(), channel(&message));
        for (queue, bindings) in &topology.queues {
            if bindings
                .bindings
                .iter()
                .any(|binding| binding.message == name)
            {
                let channel = json!({"$ref": format!("#/channels/{name}")});
                let bindings = json!({"amqp": {"deliveryMode": 2, "mandatory": true, "ack": true}});
                let operation = json!({
                    "action": "receive",
                    "channel": channel,
                    "title": queue.as_str(),
                    "bindings": bindings,
                });
                operations.insert(format!("{queue} receives {name}"), operation);
            }
        }
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {"title": "The shop", "version": "1", "description": STRANGERS},
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "messageTraits": {"cloudEvent": cloud_event()}},
    })
}

/// The headers of every message: CloudEvents 1.0 in the binary mode of AMQP.
fn cloud_event() -> Value {
    let text =
        |description: &str| json!({"type": "string", "minLength": 1, "description": description});
    let uuid =
        |description: &str| json!({"type": "string", "format": "uuid", "description": description});
    json!({
        "contentType": "application/json",
        "headers": {
            "type": "object",
            "required": ["cloudEvents:specversion", "cloudEvents:id", "cloudEvents:source", "cloudEvents:type"],
            "properties": {
                "cloudEvents:specversion": {"const": "1.0"},
                "cloudEvents:id": text("With the source, unique for ever; also the property `message_id`. Sent again under the same id, a message takes effect once. We send UUIDs; any text will do."),
                "cloudEvents:source": text("Who sends it: a service of the shop, or a name of your own."),
                "cloudEvents:type": text("The message's name; also its routing key."),
                "cloudEvents:subject": text("What it is about. Messages about the same are handled one after the other."),
                "cloudEvents:time": {"type": "string", "format": "date-time"},
                "cloudEvents:correlationid": uuid("The story it belongs to; answers carry the same."),
                "cloudEvents:causationid": uuid("The message that it answers."),
                "cloudEvents:traceparent": text("W3C Trace Context."),
                "cloudEvents:sequence": text("Ours: the version of the aggregate whose event this is."),
                "cloudEvents:partitionkey": text("Ours: the subject."),
                "cloudEvents:operationid": text("Ours: what a resend has in common with what was sent first."),
            },
        },
        "bindings": {"amqp": {"messageType": "application/json"}},
    })
}

fn described(message: &Described) -> Value {
    let kind = match message.kind {
        Kind::Event => "event",
        Kind::Command => "command",
    };
    json!({
        "name": message.name,
        "tags": [{"name": kind}, {"name": message.owner}],
        "traits": [{"$ref": "#/components/messageTraits/cloudEvent"}],
        "payload": message.schema,
    })
}

fn channel(message: &Described) -> Value {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_openapi_document_refers_only_to_what_it_has() {
        let document: Value = serde_json::from_str(OPENAPI).expect("it is JSON");
        for part in OPENAPI.split("#/components/schemas/").skip(1) {
            let name: String = part
                .chars()
                .take_while(char::is_ascii_alphanumeric)
                .collect();
            assert!(
                document["components"]["schemas"][&name].is_object(),
                "{name}"
            );
        }
        assert!(document["paths"]["/api/v1/orders"]["post"].is_object());
    }

    #[test]
    fn every_message_has_a_schema_and_a_channel() {
        let document = asyncapi(&Topology::default());
        let placed = &document["components"]["messages"]["orders.order_placed.v1"];
        assert!(
            placed["payload"]["properties"]["order_id"].is_object(),
            "{placed}"
        );
        let trait_of_all = &placed["traits"][0]["$ref"];
        assert_eq!(trait_of_all, "#/components/messageTraits/cloudEvent");
        assert!(document["components"]["messageTraits"]["cloudEvent"]["headers"].is_object());
        assert_eq!(
            document["channels"].as_object().map(Map::len),
            Some(catalogue::all().len())
        );
    }
}
