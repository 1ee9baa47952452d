//! The headers of every message: CloudEvents 1.0 in the binary mode of AMQP.

use serde_json::{Value, json};

/// The message trait that all messages of a document share.
pub(super) fn message_trait() -> Value {
    json!({
        "contentType": "application/json",
        "headers": {
            "type": "object",
            "required": [
                "cloudEvents:specversion",
                "cloudEvents:id",
                "cloudEvents:source",
                "cloudEvents:type",
            ],
            "properties": {
                "cloudEvents:specversion": {"const": "1.0"},
                "cloudEvents:id": text(
                    "Unique within its source; also the property `message_id`. A message that is sent \
                     again under the same id takes effect once. Services send UUIDs; any text is \
                     accepted.",
                ),
                "cloudEvents:source": text(
                    "The sender: a service of the system, or a name of your own.",
                ),
                "cloudEvents:type": text("The message's name; also its routing key."),
                "cloudEvents:subject": text(
                    "The entity that the message is about. Messages with the same subject are handled \
                     one after the other.",
                ),
                "cloudEvents:time": {"type": "string", "format": "date-time"},
                "cloudEvents:correlationid": uuid(
                    "Shared by all messages that one request has caused. Answers carry the id of the \
                     message that they answer.",
                ),
                "cloudEvents:causationid": uuid("The id of the message that caused this one."),
                "cloudEvents:traceparent": text("W3C Trace Context."),
                "cloudEvents:sequence": text(
                    "Set by services: the version of the aggregate that the event is about.",
                ),
                "cloudEvents:partitionkey": text("Set by services: the subject."),
                "cloudEvents:operationid": text(
                    "Set by services: the operation that a command carries out. Sending it again keeps \
                     the operation.",
                ),
                "cloudEvents:signature": text(
                    "Set on commands by services that sign: the source's Ed25519 signature, in \
                     hexadecimal.",
                ),
            },
        },
        "bindings": {"amqp": {"messageType": "application/json"}},
    })
}

fn text(description: &str) -> Value {
    json!({"type": "string", "minLength": 1, "description": description})
}

fn uuid(description: &str) -> Value {
    json!({"type": "string", "format": "uuid", "description": description})
}
