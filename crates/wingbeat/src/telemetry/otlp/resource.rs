//! The process that sends telemetry, as attributes of a resource. They are the same for all
//! signals.

use std::sync::LazyLock;

pub(crate) use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;

/// The id of this process among all replicas of its services: in containers, they often have the
/// same process id.
static INSTANCE: LazyLock<String> = LazyLock::new(|| {
    let mut id = [0; 16];
    // Without random numbers the id does not distinguish the replicas, and the rest still works.
    let _ = getrandom::fill(&mut id);
    uuid::Builder::from_random_bytes(id).into_uuid().to_string()
});

/// Returns the resource of a service in this process.
pub(super) fn resource(service: &str) -> Resource {
    let text = |key, value: &str| attribute(key, Value::StringValue(value.into()));
    Resource {
        attributes: vec![
            text("service.name", service),
            text("service.namespace", "wingbeat"),
            text("service.instance.id", &INSTANCE),
            attribute("process.pid", Value::IntValue(std::process::id().into())),
        ],
        ..Resource::default()
    }
}

/// Returns the scope of what Wingbeat itself reports.
pub(super) fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "wingbeat".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        ..InstrumentationScope::default()
    }
}

/// Converts an attribute to its protobuf form.
pub(crate) fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.into(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}
