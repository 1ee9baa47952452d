//! Sending: where to, and what it costs when nobody is there.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use metrics_exporter_prometheus::PrometheusBuilder;
use tracing::subscriber::with_default;
use tracing_subscriber::layer::SubscriberExt as _;
use wingbeat::telemetry::{Context, otlp, requested};
use wingbeat::{TraceParent, telemetry};

use crate::collector::Collector;

/// The trace of the spans here.
fn parent() -> TraceParent {
    crate::CALLER.parse().unwrap()
}

/// Spans of requests, each in its place of the trace.
fn spans(spans: otlp::Spans, count: u64) {
    let subscriber = tracing_subscriber::registry().with(spans.layer());
    with_default(subscriber, || {
        for number in 1..=count {
            let request = axum::http::Request::get("/a?secret=1").body(()).unwrap();
            let trace = parent().child(number);
            let span = requested("somebody", &request.into_parts().0, trace, Some(parent()));
            telemetry::answered(&span, 503);
            tracing::info!("no span of ours: {:?}", Context::at(trace));
        }
    });
}

#[tokio::test]
async fn what_was_told_arrives_whole_before_the_end() {
    let collector = Collector::start().await;
    for address in [collector.url(), format!("{}/v1/traces", collector.url())] {
        let (layer, exporter) = otlp::start(&address).unwrap();
        spans(layer, 1_000);
        exporter.flush(Duration::from_secs(10)).await;
        let told = collector.take_all();
        assert_eq!(told.len(), 1_000, "all of them, in more than one batch");
        let first = told.iter().find(|span| span.id.ends_with("0001")).unwrap();
        assert_eq!(
            (&*first.service, &*first.name, &*first.kind),
            ("somebody", "GET", "server")
        );
        assert_eq!(first.parent, crate::CALLER_SPAN);
        assert_eq!(first.text("url.path"), "/a");
        assert_eq!(first.text("http.response.status_code"), "503");
        assert!(first.failed && first.ended_after(first.start));
    }
}

/// A collector that takes connections and says nothing.
fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

#[test]
fn a_collector_that_is_away_or_silent_costs_spans_that_are_counted_and_no_time() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let counted = recorder.handle();
    let nobody = "http://127.0.0.1:1"; // A port that is given to nobody.
    let (_listener, mute) = silent();
    metrics::with_local_recorder(&recorder, || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(async {
            let (layer, exporter) = otlp::start(nobody).unwrap();
            spans(layer, 10);
            exporter.flush(Duration::from_secs(10)).await;
            // More than may wait, and nobody who takes them: whoever works is not held up.
            let (layer, exporter) = otlp::start(&mute).unwrap();
            let begun = Instant::now();
            spans(layer, 10_000);
            exporter.flush(Duration::from_millis(300)).await;
            let took = begun.elapsed();
            assert!(took < Duration::from_secs(30), "{took:?}");
        });
    });
    let text = counted.render();
    let of = |outcome: &str| {
        let name = format!("wingbeat_otlp_spans_total{{outcome=\"{outcome}\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&name));
        line.map_or(0, |count| count.parse::<u64>().unwrap())
    };
    assert_eq!(of("failed"), 10, "{text}");
    assert_eq!(of("full"), 10_000 - 8_192, "{text}");
}

#[tokio::test]
async fn an_address_is_one_without_tls() {
    let wrong = [
        "",
        "h:4318",
        "https://h:4318",
        "http://",
        "http://a b",
        "http://h?x",
    ];
    for address in wrong {
        assert!(otlp::start(address).is_err(), "{address}");
    }
}
