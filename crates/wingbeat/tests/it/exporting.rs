//! Exporting spans to an OpenTelemetry collector: addresses, and a collector that is unavailable.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test ends where something is missing, and runs on the real clock"
)]

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tracing::subscriber::with_default;
use tracing_subscriber::layer::SubscriberExt as _;
use wingbeat::ports::TraceParent;
use wingbeat::telemetry;
use wingbeat::telemetry::metrics::{
    self, Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use wingbeat::telemetry::{Context, otlp, requested};
use wingbeat::tls::TlsFiles;

use wingbeat_servers::collector::Collector;

/// The upper bound of every wait. It is long: it only ends the test of an exporter that is stuck.
const BOUND: Duration = Duration::from_secs(300);
/// The caller's trace and span.
const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const CALLER_SPAN: &str = "b7ad6b7169203331";

/// The trace of the spans here.
fn parent() -> TraceParent {
    CALLER.parse().unwrap()
}

/// Records spans of requests as children of the caller's span.
fn spans(spans: otlp::Spans, count: u64) {
    let subscriber = tracing_subscriber::registry().with(spans.layer());
    with_default(subscriber, || {
        for number in 1..=count {
            let request = axum::http::Request::get("/a?secret=1").body(()).unwrap();
            let trace = parent().child(number);
            let span = requested("a-service", &request.into_parts().0, trace, Some(parent()));
            telemetry::record_status(&span, 503);
            tracing::info!("an event, not a span: {:?}", Context::at(trace));
        }
    });
}

#[tokio::test]
async fn a_flush_exports_all_spans() {
    let collector = Collector::start().await;
    for address in [collector.url(), format!("{}/v1/traces", collector.url())] {
        let (layer, exporter) = otlp::start(&address, &TlsFiles::default()).unwrap();
        spans(layer, 1_000);
        exporter.flush(BOUND).await;
        let spans = collector.take_all();
        assert_eq!(spans.len(), 1_000, "they fill more than one batch");
        let first = spans.iter().find(|span| span.id.ends_with("0001")).unwrap();
        assert_eq!(
            (&*first.service, &*first.name, &*first.kind),
            ("a-service", "GET", "server")
        );
        assert_eq!(first.parent, CALLER_SPAN);
        assert_eq!(first.text("url.path"), "/a");
        assert_eq!(first.text("http.response.status_code"), "503");
        assert!(first.failed && first.ended_after(first.start));
    }
}

/// A collector that accepts connections and never answers.
fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

/// Counts spans by outcome.
#[derive(Default)]
struct Counted(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

impl Counted {
    fn of(&self, outcome: &str) -> u64 {
        let counted = self.0.lock().unwrap();
        let count = counted.get(outcome);
        count.map_or(0, |count| count.load(Ordering::Relaxed))
    }
}

impl Recorder for Counted {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        if key.name() != "wingbeat_otlp_spans_total" {
            return Counter::noop();
        }
        let mut labels = key.labels();
        let outcome = labels.find(|label| label.key() == "outcome").unwrap();
        let mut counted = self.0.lock().unwrap();
        let count = counted.entry(outcome.value().to_owned()).or_default();
        Counter::from_arc(Arc::clone(count))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn an_unavailable_collector_costs_counted_spans_and_no_time() {
    let counted = Counted::default();
    let nobody = "http://127.0.0.1:1"; // No program listens on this port.
    let (_listener, mute) = silent();
    metrics::with_local_recorder(&counted, || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let (layer, exporter) = otlp::start(nobody, &TlsFiles::default()).unwrap();
            spans(layer, 10);
            exporter.flush(BOUND).await;
            // More spans than the exporter queues: recording does not block, and the flush ends at
            // its limit.
            let (layer, exporter) = otlp::start(&mute, &TlsFiles::default()).unwrap();
            spans(layer, 10_000);
            let flush = exporter.flush(Duration::from_millis(300));
            let flushed = tokio::time::timeout(BOUND, flush).await;
            flushed.expect("the flush ends at its limit");
        });
    });
    assert_eq!(counted.of("failed"), 10);
    assert_eq!(counted.of("full"), 10_000 - 8_192);
}

#[tokio::test]
async fn an_address_must_be_an_http_url() {
    let wrong = [
        "",
        "h:4318",
        "ftp://h:4318",
        "http://user:password@h:4318",
        "http://",
        "http://a b",
        "http://h?x",
    ];
    for address in wrong {
        assert!(
            otlp::start(address, &TlsFiles::default()).is_err(),
            "{address}"
        );
    }
}
