//! Overload of a process on the embedded store: its backlog, its operator's API, and its machine.
#![allow(
    clippy::disallowed_methods,
    reason = "real processes: their clock is the machine's"
)]

use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::Extension;
use tower::ServiceExt as _;
use wingbeat::run::ops::{Operator, operator};
use wingbeat::run::{Backends, Host, Process, Program, Roles, RunError, open};
use wingbeat::tls::TlsFiles;
use wingbeat::{Ports, Settings, TokioRuntime};

use super::*;
use crate::operator::Client;

/// The longest wait for a condition.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns which of [`PATHS`] are refused.
async fn refused(routes: &Router) -> Vec<bool> {
    let mut refused = Vec::new();
    for (method, path) in PATHS {
        let body = if path == "/withdraw" {
            String::new()
        } else {
            of_song()
        };
        let answer = routes.clone().oneshot(request(method, path, &body)).await;
        refused.push(answer.expect("routes never fail").status() == 503);
    }
    refused
}

async fn until(routes: &Router, expected: [bool; 4]) {
    let begun = Instant::now();
    loop {
        let found = refused(routes).await;
        if found == expected {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{found:?}, not {expected:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn start(data: &Path, overload: Overload) -> Arc<Host> {
    let (runtime, tls) = (TokioRuntime::new(), TlsFiles::default());
    let opened = Backends::open(None, data, "songs", &tls, &runtime).await;
    let ports = opened.expect("the directory opens").ports;
    let system = Arc::new(move || songs().shedding(overload.clone()));
    let host = Host::start(runtime, ports, system, |_| true);
    host.await.expect("it starts")
}

#[tokio::test]
async fn the_intake_on_one_file_follows_memory_and_a_full_queue() {
    let directory = tempfile::tempdir().expect("a directory");
    let gauges = Gauges::default();
    let watermarks = Watermarks {
        queues: Some(Watermark { high: 200, low: 50 }),
        ..Watermarks::default()
    };
    let host = start(directory.path(), overload(watermarks, &gauges)).await;
    let routes = host.routes();
    until(&routes, [false; 4]).await;
    for (percent, classes) in [
        (86, [true, false, false, false]),
        (91, [true, true, false, false]),
        (96, [true, true, true, false]),
        (70, [false; 4]),
    ] {
        gauges.memory(percent);
        until(&routes, classes).await;
    }

    let running = host.running().next().expect("it runs");
    assert!(
        running
            .pause("songs", SUBSCRIPTION)
            .await
            .expect("it is stored")
    );
    for _ in 0..220 {
        let vote = routes
            .clone()
            .oneshot(request("POST", "/votes", &of_song()));
        drop(vote.await);
    }
    until_level(&host, Level::One).await;
    assert!(host.crash("songs").await.expect("it restarts"));
    let level = || host.overload().expect("it is watched").level();
    assert_eq!(level(), Level::One, "over a restart of the service");
    let listed = operator(Arc::clone(&host)).layer(Extension(Operator("a test".into())));
    let listed = listed.oneshot(request("GET", "/overload", "")).await;
    let listed = to_bytes(listed.expect("routes never fail").into_body(), 1 << 16).await;
    let listed: Value = serde_json::from_slice(&listed.expect("a body")).expect("JSON");
    let items = listed["items"].as_array().expect("a list");
    let queues = items.iter().find(|it| it["resource"] == "queues");
    let queues = queues.expect("it is watched");
    assert_eq!(
        (&queues["level"], &queues["high"]),
        (&1.into(), &200.into())
    );
    assert!(queues["reading"].as_u64() >= Some(200), "{queues}");

    let running = host.running().next().expect("it runs");
    assert!(
        running
            .resume("songs", SUBSCRIPTION)
            .await
            .expect("it is stored")
    );
    until_level(&host, Level::Zero).await;
    until(&routes, [false; 4]).await;
    host.stop().await;
}

async fn until_level(host: &Host, wanted: Level) {
    let begun = Instant::now();
    let level = || host.overload().expect("it is watched").level();
    while level() != wanted {
        assert!(begun.elapsed() < PATIENCE, "{:?}, not {wanted:?}", level());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

struct Charts;

impl Program for Charts {
    type Own = ();
    type State = ();

    fn name(&self) -> &'static str {
        "charts"
    }

    fn about(&self) -> &'static str {
        "Counts votes"
    }

    fn services(&self, _: &Settings) -> Vec<&'static str> {
        vec!["songs"]
    }

    async fn begin(&self, _: &Settings, _: &Roles, _: &Ports) -> Result<(), RunError> {
        Ok(())
    }

    fn system(&self, _: &Settings, _: &Roles, (): &()) -> App {
        songs()
    }
}

async fn open_with(data: &Path, memory: u64) -> Process<Charts> {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut settings = Settings::default();
    (settings.listen, settings.ops_listen) = (any, any);
    settings.data = data.into();
    settings.memory_limit = Some(memory);
    let roles = Roles {
        services: ["songs"].into(),
        others: [].into(),
        whole: true,
    };
    open(Charts, settings, roles).await.expect("it starts")
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_process_beyond_its_memory_refuses_requests_and_stays_ready() {
    let directory = tempfile::tempdir().expect("a directory");
    let process = open_with(directory.path(), 1 << 20).await;
    until_level(&process.host, Level::Three).await;
    let client = Client::near(process.address);
    for (method, path) in PATHS {
        let (status, text) = client.text(method, path, &of_song()).await;
        let expected = if path == "/withdraw" { 204 } else { 503 };
        assert_eq!(status, expected, "{path}: {text}");
    }
    for path in ["/readyz", "/healthz", "/openapi.json"] {
        assert_eq!(client.text("GET", path, "").await.0, 200, "{path}");
    }
    assert!(process.readiness.is_ready());
    process.close().await;

    let process = open_with(directory.path(), 1 << 40).await;
    let client = Client::near(process.address);
    assert_eq!(client.text("GET", "/votes", "").await.0, 200);
    process.close().await;
}
