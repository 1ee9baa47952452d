//! An OpenTelemetry collector that keeps the spans it receives.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use shop_e2e::wait::BOUND;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::trace::Trace;

/// A span as it was exported.
#[derive(Clone, Debug)]
pub(crate) struct Exported {
    pub(crate) service: String,
    pub(crate) name: String,
    /// `server`, `client`, `producer`, `consumer` or `internal`.
    pub(crate) kind: String,
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty for the root of a trace.
    pub(crate) parent: String,
    pub(crate) start: u64,
    /// Its status is an error.
    pub(crate) failed: bool,
    end: u64,
    attributes: Vec<(String, String)>,
}

impl Exported {
    fn of(service: &str, span: Span) -> Self {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let kind = span.kind().as_str_name().replace("SPAN_KIND_", "");
        Self {
            service: service.into(),
            kind: kind.to_lowercase(),
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            start: span.start_time_unix_nano,
            failed: span.status.as_ref().is_some_and(|it| it.code == 2),
            end: span.end_time_unix_nano,
            attributes: span.attributes.into_iter().map(attribute).collect(),
            name: span.name,
        }
    }

    /// An attribute as text; empty if the span lacks it.
    pub(crate) fn text(&self, name: &str) -> &str {
        let found = self.attributes.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value)
    }

    pub(crate) fn ended_after(&self, time: u64) -> bool {
        self.start <= self.end && self.end >= time
    }
}

fn attribute(KeyValue { key, value, .. }: KeyValue) -> (String, String) {
    let value = match value.and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(it)) => it.to_string(),
        other => format!("{other:?}"),
    };
    (key, value)
}

#[derive(Clone)]
struct Taking {
    spans: Arc<Mutex<Vec<Exported>>>,
    count: watch::Sender<usize>,
}

/// A running collector.
pub(crate) struct Collector {
    taking: Taking,
    port: u16,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let taking = Taking {
            spans: Arc::default(),
            count: watch::Sender::new(0),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let routes = Router::new()
            .route("/v1/traces", post(take))
            .with_state(taking.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { taking, port }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The spans of a trace received so far.
    pub(crate) fn trace(&self, id: &str) -> Trace {
        let spans = self.taking.spans.lock().unwrap();
        Trace::of(spans.iter().filter(|span| span.trace == id).cloned())
    }

    /// Removes and returns all spans.
    pub(crate) fn take_all(&self) -> Vec<Exported> {
        std::mem::take(&mut *self.taking.spans.lock().unwrap())
    }

    /// Waits until `whole` accepts the trace, and returns it.
    pub(crate) async fn wait(&self, id: &str, whole: impl Fn(&Trace) -> bool) -> Trace {
        let mut count = self.taking.count.subscribe();
        let received = async {
            while !whole(&self.trace(id)) {
                count.changed().await.unwrap();
            }
        };
        let in_time = tokio::time::timeout(BOUND, received).await.is_ok();
        let trace = self.trace(id);
        assert!(in_time, "{id} has only these spans: {trace:#?}");
        trace
    }
}

/// Receives a batch: protobuf in, protobuf out.
async fn take(
    State(taking): State<Taking>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Vec<u8>, StatusCode> {
    if headers["content-type"] != "application/x-protobuf" {
        return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let batch = ExportTraceServiceRequest::decode(body).map_err(|_| StatusCode::BAD_REQUEST)?;
    let mut spans = taking.spans.lock().unwrap();
    for resource in batch.resource_spans {
        let attributes = resource.resource.unwrap_or_default().attributes;
        let mut attributes = attributes.into_iter().map(attribute);
        let (_, service) = attributes.find(|(name, _)| name == "service.name").unwrap();
        let exported = resource.scope_spans.into_iter().flat_map(|it| it.spans);
        spans.extend(exported.map(|span| Exported::of(&service, span)));
    }
    let count = spans.len();
    drop(spans); // A waiting test reads them at once.
    taking.count.send_replace(count);
    Ok(ExportTraceServiceResponse::default().encode_to_vec())
}
