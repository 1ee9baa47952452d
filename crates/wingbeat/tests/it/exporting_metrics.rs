//! Exporting the metrics of a process. Metrics are recorded once in a process, so each of these
//! tests runs in a process of its own.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a real process: its sockets, its clock and its environment are the machine's"
)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tracing_subscriber::layer::SubscriberExt as _;
use wingbeat::run::{Process, Program, Roles, RunError, open_on};
use wingbeat::telemetry::metrics::{counter, histogram};
use wingbeat::telemetry::otlp;
use wingbeat::test::Model;
use wingbeat::tls::TlsFiles;
use wingbeat::{App, Ports, Promise, Service, Settings, TokioRuntime};
use wingbeat_servers::collector::{Collector, Metrics, series};
use wingbeat_servers::free_port;

use crate::found::Nowhere;

/// The upper bound of every wait.
const BOUND: Duration = Duration::from_secs(300);
/// The variable that names the test that this process runs.
const ALONE: &str = "WINGBEAT_TEST_ALONE";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const UNSAMPLED: &str = "1bf7651916cd43dd8448eb211c80319c";
/// The histogram of the requests of a lighthouse.
const REQUESTS: &str = "wingbeat_http_server_request_duration_seconds";

/// Returns whether this process runs this test alone. Otherwise another process does so, and has
/// succeeded when this returns.
fn is_alone(test: &str) -> bool {
    if std::env::var(ALONE).is_ok_and(|it| it == test) {
        return true;
    }
    let program = std::env::current_exe().unwrap();
    let run = Command::new(program)
        .args([
            "--exact",
            &format!("exporting_metrics::{test}"),
            "--nocapture",
        ])
        .env(ALONE, test)
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&run.stdout) + String::from_utf8_lossy(&run.stderr);
    assert!(output.contains("test result: ok. 1 passed"), "{output}");
    false
}

struct Lighthouse;

impl Program for Lighthouse {
    type Own = ();
    type State = ();

    fn name(&self) -> &'static str {
        "lighthouse"
    }

    fn about(&self) -> &'static str {
        "Shines"
    }

    fn services(&self, _: &Settings) -> Vec<&'static str> {
        vec!["lamp"]
    }

    async fn begin(&self, _: &Settings, _: &Roles, _: &Ports) -> Result<(), RunError> {
        Ok(())
    }

    fn system(&self, _: &Settings, _: &Roles, (): &()) -> App {
        let lit = Promise::new("lit", Duration::from_secs(1)).objective(0.999);
        App::new().service(Service::new("lamp").promise(lit))
    }
}

/// Starts a process that exports its metrics to a collector.
async fn start(collector: &str, interval: Duration) -> Process<Lighthouse> {
    let model = Model::new(TokioRuntime::new());
    let ports = Ports {
        runtime: TokioRuntime::new(),
        store: model.store.clone(),
        transport: model.transport.clone(),
        cache: model.cache.clone(),
        http: Arc::new(Nowhere),
    };
    let mut settings = Settings::default();
    settings.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    settings.ops_listen = settings.listen;
    settings.otlp.metrics = Some(format!("{collector}/v1/metrics"));
    settings.otlp.interval = interval;
    let roles = Roles {
        services: ["lamp"].into(),
        others: [].into(),
        whole: true,
    };
    open_on(Lighthouse, settings, roles, ports).await.unwrap()
}

/// Returns the body of an answer with status 200.
async fn get(at: SocketAddr, path: &str, header: &str) -> String {
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{header}\r\n\r\n");
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{answer}");
    body.to_owned()
}

/// Returns the values of `/metrics` by series, as a collector names them. The counts of the export
/// itself are left out: they change with each export.
async fn page(ops: SocketAddr) -> BTreeMap<String, f64> {
    let text = get(ops, "/metrics", "accept: text/plain").await;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let lines = lines.filter(|line| line.starts_with(|it: char| it.is_ascii_alphabetic()));
    let values = lines.map(|line| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        let (metric, labels) = name.split_once('{').unwrap_or((name, "}"));
        let pairs = labels.trim_end_matches('}').split(',');
        let pairs = pairs.filter_map(|it| it.split_once('='));
        let labels =
            pairs.map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()));
        (series(metric, &labels.collect()), value.parse().unwrap())
    });
    comparable(values.collect())
}

fn comparable(mut values: BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    values.retain(|name, _| !name.starts_with("wingbeat_otlp_"));
    values
}

/// Waits for an export that is equal to the page.
async fn equal(collector: &Collector, ops: SocketAddr) -> Metrics {
    let deadline = tokio::time::Instant::now() + BOUND;
    loop {
        let (page, before) = (page(ops).await, collector.metrics().len());
        let next = |it: &Collector| it.metrics().into_iter().nth(before);
        let next = collector.until(BOUND, next).await;
        if comparable(next.values.clone()) == page {
            return next;
        }
        let in_time = tokio::time::Instant::now() < deadline;
        assert!(in_time, "the page {page:#?} differs from {next:#?}");
    }
}

#[test]
fn metrics_that_no_collector_accepts_are_exported_later_with_exemplars() {
    if !is_alone("metrics_that_no_collector_accepts_are_exported_later_with_exemplars") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        let port = free_port();
        let url = format!("http://127.0.0.1:{port}");
        let (spans, exporter) = otlp::start(&url, &TlsFiles::default()).unwrap();
        let subscriber = tracing_subscriber::registry().with(spans.layer());
        let _logs = tracing::subscriber::set_default(subscriber);
        let process = start(&url, Duration::from_millis(100)).await;
        let ops = process.ops_address.expect("this process records metrics");
        counter!("nights_total", "weather" => "clear").increment(3);
        histogram!("waves_size").record(3.0);
        // Nobody listens. Work goes on, and what is not accepted is counted.
        loop {
            get(process.address, "/healthz", "").await;
            let page = get(ops, "/metrics", "").await;
            if page.contains("wingbeat_otlp_metric_points_total{outcome=\"failed\"}") {
                break;
            }
        }
        exporter.flush(BOUND).await; // The spans so far are lost.
        let collector = Collector::at(port).await;
        let sampled = format!("traceparent: 00-{TRACE}-b7ad6b7169203331-01");
        get(process.address, "/openapi.json", &sampled).await;
        exporter.flush(BOUND).await;

        let exported = equal(&collector, ops).await;
        assert_eq!(exported.service, "lighthouse");
        assert_eq!(exported.values["nights_total{weather=\"clear\"}"], 3.0);
        let objective = "wingbeat_promise_objective{promise=\"lit\",service=\"lamp\"}";
        assert_eq!(exported.values[objective], 0.999);
        let kept =
            "wingbeat_promises_ended_total{outcome=\"kept\",promise=\"lit\",service=\"lamp\"}";
        assert_eq!(exported.values[kept], 0.0);
        for cumulative in ["nights_total", "waves_size", "wingbeat_promises_made_total"] {
            assert!(
                exported.cumulative.iter().any(|it| it == cumulative),
                "{exported:?}"
            );
        }
        let outdated = comparable(exported.values.clone());
        counter!("nights_total", "weather" => "clear").increment(1);
        assert_ne!(page(ops).await, outdated, "a difference would be seen");
        equal(&collector, ops).await;

        // The exemplar leads to a trace that the collector has. A trace that is not exported has
        // none.
        let found = |it: &Collector| {
            let last = it.metrics().pop()?;
            let mut all = last.exemplars.into_iter();
            all.find(|it| it.metric == REQUESTS && it.trace == TRACE)
        };
        let exemplar = collector.until(BOUND, found).await;
        let trace = collector.trace(TRACE);
        assert_eq!(trace.span(&exemplar.span).name, "GET", "{trace:?}");
        let unsampled = format!("traceparent: 00-{UNSAMPLED}-b7ad6b7169203331-00");
        get(process.address, "/openapi.json", &unsampled).await;
        let accept = "accept: application/openmetrics-text; version=1.0.0";
        let text = get(ops, "/metrics", accept).await;
        let with = format!("# {{trace_id=\"{TRACE}\",span_id=\"{}\"}}", exemplar.span);
        let lines: Vec<&str> = text.lines().filter(|it| it.contains(&with)).collect();
        assert_eq!(lines.len(), 1, "{text}");
        assert!(lines[0].starts_with(REQUESTS), "{lines:?}");
        assert!(!text.contains(UNSAMPLED), "{text}");
        process.close().await;
    });
}

#[test]
fn a_process_exports_its_last_metrics_when_it_ends() {
    if !is_alone("a_process_exports_its_last_metrics_when_it_ends") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        let collector = Collector::start().await;
        // The interval is longer than the test.
        let process = start(&collector.url(), Duration::from_secs(3_600)).await;
        counter!("nights_total").increment(7);
        assert_eq!(collector.metrics().len(), 0);
        process.close().await;
        let exported = collector.metrics();
        assert_eq!(exported.len(), 1);
        assert_eq!(exported[0].values["nights_total{}"], 7.0);
    });
}
