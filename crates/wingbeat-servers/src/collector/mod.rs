//! An OpenTelemetry collector inside the test's own process. It keeps the spans, metrics and log
//! records that it receives over OTLP/HTTP.
//!
//! ```
//! use std::time::Duration;
//!
//! use wingbeat_servers::collector::Collector;
//!
//! # async fn example() {
//! let collector = Collector::start().await;
//! // Start a program that exports its spans to `collector.url()`, and let it do something.
//! let trace = "0af7651916cd43dd8448eb211c80319c";
//! let is_whole = |spans: &wingbeat_servers::collector::Trace| spans.has("orders", "commit");
//! let spans = collector.wait(trace, Duration::from_secs(60), is_whole).await;
//! assert!(spans.is_tree("b7ad6b7169203331"));
//! # }
//! ```

mod logs;
mod metrics;
mod trace;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub use logs::Log;
pub use metrics::{Exemplar, Metrics, series};
pub use trace::Trace;

/// A span as it was exported. Ids are lower-case hexadecimal numbers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Exported {
    /// The name of the service.
    pub service: String,
    /// The name of the span.
    pub name: String,
    /// `server`, `client`, `producer`, `consumer` or `internal`.
    pub kind: String,
    /// The id of its trace.
    pub trace: String,
    /// Its id.
    pub id: String,
    /// The id of its parent. Empty for the root of a trace.
    pub parent: String,
    /// When it began, in nanoseconds since 1970.
    pub start: u64,
    /// Set if its status is an error.
    pub failed: bool,
    end: u64,
    attributes: Vec<(String, String)>,
}

impl Exported {
    fn of(service: &str, span: Span) -> Self {
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

    /// Returns an attribute as text; an empty text if the span lacks it.
    #[must_use]
    pub fn text(&self, name: &str) -> &str {
        let found = self.attributes.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, value)| value)
    }

    /// Returns whether the span ended after a time, in nanoseconds since 1970.
    #[must_use]
    pub fn ended_after(&self, time: u64) -> bool {
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

/// What was received.
#[derive(Clone)]
struct Taking {
    spans: Arc<Mutex<Vec<Exported>>>,
    logs: Arc<Mutex<Vec<Log>>>,
    metrics: Arc<Mutex<Vec<Metrics>>>,
    /// The number of requests.
    count: watch::Sender<usize>,
}

fn locked<T>(all: &Mutex<T>) -> MutexGuard<'_, T> {
    all.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running collector. It ends with the runtime of its test.
pub struct Collector {
    taking: Taking,
    port: u16,
}

impl Collector {
    /// Starts a collector on a free port of the loopback interface.
    ///
    /// # Panics
    ///
    /// If the port cannot be opened.
    pub async fn start() -> Self {
        Self::at(0).await
    }

    /// Starts a collector on this port of the loopback interface.
    ///
    /// # Panics
    ///
    /// If the port cannot be opened.
    pub async fn at(port: u16) -> Self {
        let taking = Taking {
            spans: Arc::default(),
            logs: Arc::default(),
            metrics: Arc::default(),
            count: watch::Sender::new(0),
        };
        let listener = TcpListener::bind(("127.0.0.1", port)).await;
        let listener = listener.expect("the port is free");
        let address = listener.local_addr();
        let port = address.expect("the listener is bound").port();
        let routes = Router::new()
            .route("/v1/traces", post(take))
            .route("/v1/metrics", post(metrics::take))
            .route("/v1/logs", post(logs::take))
            .with_state(taking.clone());
        tokio::spawn(axum::serve(listener, routes).into_future());
        Self { taking, port }
    }

    /// Returns the address for programs that export spans.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns the spans of a trace that it has received so far.
    #[must_use]
    pub fn trace(&self, id: &str) -> Trace {
        let spans = locked(&self.taking.spans);
        Trace::of(spans.iter().filter(|span| span.trace == id).cloned())
    }

    /// Removes and returns all spans.
    #[must_use]
    pub fn take_all(&self) -> Vec<Exported> {
        std::mem::take(&mut *locked(&self.taking.spans))
    }

    /// Returns the log records that it has received so far.
    #[must_use]
    pub fn logs(&self) -> Vec<Log> {
        locked(&self.taking.logs).clone()
    }

    /// Returns the metrics of each export that it has received so far, in order.
    #[must_use]
    pub fn metrics(&self) -> Vec<Metrics> {
        locked(&self.taking.metrics).clone()
    }

    /// Waits until `found` returns something, asking it after each request, and returns that.
    ///
    /// # Panics
    ///
    /// If it returns nothing within `bound`.
    pub async fn until<T>(&self, bound: Duration, found: impl Fn(&Self) -> Option<T>) -> T {
        let mut count = self.taking.count.subscribe();
        let search = async {
            loop {
                if let Some(found) = found(self) {
                    return found;
                }
                count.changed().await.expect("the collector has the sender");
            }
        };
        let found = tokio::time::timeout(bound, search).await;
        found.expect("it is received in time")
    }

    /// Waits until `whole` accepts the trace, and returns it.
    ///
    /// # Panics
    ///
    /// If it does not accept the trace within `bound`.
    pub async fn wait(&self, id: &str, bound: Duration, whole: impl Fn(&Trace) -> bool) -> Trace {
        let mut count = self.taking.count.subscribe();
        let received = async {
            while !whole(&self.trace(id)) {
                count.changed().await.expect("the collector has the sender");
            }
        };
        let in_time = tokio::time::timeout(bound, received).await.is_ok();
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
    is_protobuf(&headers)?;
    let batch = ExportTraceServiceRequest::decode(body).map_err(|_| StatusCode::BAD_REQUEST)?;
    let mut spans = locked(&taking.spans);
    for resource in batch.resource_spans {
        let service = service(resource.resource)?;
        let exported = resource.scope_spans.into_iter().flat_map(|it| it.spans);
        spans.extend(exported.map(|span| Exported::of(&service, span)));
    }
    drop(spans); // A waiting test reads them at once.
    taking.count.send_modify(|count| *count += 1);
    Ok(ExportTraceServiceResponse::default().encode_to_vec())
}

fn is_protobuf(headers: &HeaderMap) -> Result<(), StatusCode> {
    let kind = headers.get("content-type");
    let is_right = kind.is_some_and(|it| it == "application/x-protobuf");
    is_right
        .then_some(())
        .ok_or(StatusCode::UNSUPPORTED_MEDIA_TYPE)
}

/// Returns the name of the service; every signal names the process in the same way.
fn service(resource: Option<Resource>) -> Result<String, StatusCode> {
    let attributes = resource.unwrap_or_default().attributes.into_iter();
    let attributes: Vec<(String, String)> = attributes.map(attribute).collect();
    let of = |name| {
        let found = attributes.iter().find(|(key, _)| key == name);
        let value = found.map(|(_, value)| value.clone());
        value
            .filter(|it| !it.is_empty())
            .ok_or(StatusCode::BAD_REQUEST)
    };
    for name in ["service.namespace", "service.instance.id", "process.pid"] {
        of(name)?;
    }
    of("service.name")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
