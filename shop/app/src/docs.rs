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
            if bindings.iter().any(|binding| binding.message == name) {
                let channel = json!({"$ref": format!("#/channels/{name}")});
                let operation =
                    json!({"action": "receive", "channel": channel, "title": queue.as_str()});
                operations.insert(format!("{queue} receives {name}"), operation);
            }
        }
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {"title": "The shop", "version": "1"},
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages},
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
        assert_eq!(
            document["channels"].as_object().map(Map::len),
            Some(catalogue::all().len())
        );
    }
}
