//! Exporting spans and log records to an OpenTelemetry collector: addresses, and a collector that
//! is unavailable. `exporting_metrics` exports metrics.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test ends where something is missing, and runs on the real clock"
)]

use std::collections::BTreeMap;
use std::io::Write;
use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tracing::subscriber::with_default;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use wingbeat::ports::TraceParent;
use wingbeat::telemetry;
use wingbeat::telemetry::json::JsonLines;
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
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
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

/// Counts spans and log records by outcome.
#[derive(Default)]
struct Counted(Mutex<BTreeMap<(String, String), Arc<AtomicU64>>>);

impl Counted {
    fn of(&self, metric: &str, outcome: &str) -> u64 {
        let counted = self.0.lock().unwrap();
        let count = counted.get(&(metric.to_owned(), outcome.to_owned()));
        count.map_or(0, |count| count.load(Ordering::Relaxed))
    }
}

impl Recorder for Counted {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        if !key.name().starts_with("wingbeat_otlp_") {
            return Counter::noop();
        }
        let mut labels = key.labels();
        let outcome = labels.find(|label| label.key() == "outcome").unwrap();
        let mut counted = self.0.lock().unwrap();
        let series = (key.name().to_owned(), outcome.value().to_owned());
        let count = counted.entry(series).or_default();
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
    assert_eq!(counted.of(otlp::metric::SPANS, "failed"), 10);
    assert_eq!(counted.of(otlp::metric::SPANS, "full"), 10_000 - 8_192);
}

/// Logs while a collector is silent, and returns the number of dropped records.
fn dropped(log: impl Fn()) -> u64 {
    let counted = Counted::default();
    let (_listener, mute) = silent();
    metrics::with_local_recorder(&counted, || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let (records, exporter) = otlp::start_logs(&mute, "a", &TlsFiles::default()).unwrap();
            let subscriber = tracing_subscriber::registry().with(records.layer());
            with_default(subscriber, log);
            let flush = exporter.flush(Duration::from_millis(300));
            let flushed = tokio::time::timeout(BOUND, flush).await;
            flushed.expect("the flush ends at its limit");
        });
    });
    counted.of(otlp::metric::LOG_RECORDS, "full")
}

#[test]
fn log_records_that_wait_are_bounded_in_number_and_in_size() {
    let small = || (0..10_000).for_each(|number| tracing::info!(number, "small"));
    assert_eq!(dropped(small), 10_000 - 8_192);
    let text = "x".repeat(100_000);
    // A text is cut at 8 KiB, and 16 MiB may wait.
    let large = || (0..3_000).for_each(|_| tracing::info!("{text}"));
    let dropped = dropped(large);
    assert!((900..1_000).contains(&dropped), "{dropped}");
}

/// Keeps what is written.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_log_record_has_what_a_line_has() {
    let collector = Collector::start().await;
    let (records, exporter) =
        otlp::start_logs(&collector.url(), "lighthouse", &TlsFiles::default()).unwrap();
    let (sink, filter) = (Sink::default(), "info".parse::<Targets>().unwrap());
    let out = sink.clone();
    let lines = tracing_subscriber::fmt::layer()
        .event_format(JsonLines)
        .with_writer(move || out.clone())
        .with_filter(filter.clone());
    let records = records.layer().with_filter(filter);
    let subscriber = tracing_subscriber::registry().with(lines).with(records);
    let work = Box::pin(async {
        let (tries, ratio) = (2, 0.5);
        tracing::warn!(target: "lamp", queue = "q", tries, ratio, hot = true, "it is {}", "lit");
        tracing::debug!("the filter refuses it");
    });
    with_default(subscriber, || {
        let within = Context::at(parent().child(7)).run(tracing::Span::none(), work);
        futures_util::FutureExt::now_or_never(within).unwrap();
        tracing::error!("outside of any work");
        tracing::info!(target: "hyper::client", "of the export itself");
    });
    exporter.flush(BOUND).await;
    let logs = collector.logs();
    let all: Vec<_> = logs
        .iter()
        .map(|it| (it.severity, &*it.level, &*it.message))
        .collect();
    assert_eq!(
        all,
        [
            (17, "ERROR", "outside of any work"),
            (13, "WARN", "it is lit")
        ]
    );
    let (outside, warning) = (&logs[0], &logs[1]);
    assert_eq!(
        (&*warning.service, &*warning.target),
        ("lighthouse", "lamp")
    );
    assert_eq!((&*outside.trace, &*outside.span), ("", ""));

    let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
    let line: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&*warning.trace, &*warning.span),
        (TRACE, "0000000000000007")
    );
    for (name, value) in line.as_object().unwrap() {
        let exported = match name.as_str() {
            "timestamp" => continue,
            "level" => &warning.level,
            "target" => &warning.target,
            "message" => &warning.message,
            "trace_id" => &warning.trace,
            "span_id" => &warning.span,
            field => warning.text(field),
        };
        let shown = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        let exported = exported.replace("Some(DoubleValue(0.5))", "0.5");
        assert_eq!(exported, shown, "{name}");
    }
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
