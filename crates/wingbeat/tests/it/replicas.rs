//! Two hosts on one embedded store, as replicas of a service: the operator's API of one controls
//! both.
#![allow(
    clippy::disallowed_methods,
    reason = "real processes: their clock is the machine's"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::Extension;
use axum::http::Request;
use tower::ServiceExt as _;
use wingbeat::TokioRuntime;
use wingbeat::run::ops::{Operator, operator};
use wingbeat::run::{Backends, Host};
use wingbeat::runtime::Control;
use wingbeat::tls::TlsFiles;

use crate::pausing::{SUBSCRIPTION, statistics};

async fn start(backends: &Backends) -> Arc<Host> {
    let system = Arc::new(statistics);
    let ports = backends.ports.clone();
    let started = Host::start(TokioRuntime::new(), ports, system, |_| true);
    started.await.expect("it starts")
}

fn control(host: &Host) -> Control {
    let running = host.running().next().expect("a service");
    running.subscriptions[0].control()
}

/// Waits until the subscription is in this state.
async fn until(host: &Host, wanted: Control) {
    let begun = Instant::now();
    while control(host) != wanted {
        let waited = begun.elapsed();
        assert!(waited < Duration::from_secs(60), "it never is {wanted:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn post(host: &Arc<Host>, action: &str) -> u16 {
    let by = Extension(Operator("a test".into()));
    let path = format!("/subscriptions/statistics/{SUBSCRIPTION}/{action}");
    let request = Request::post(path).body(Body::empty()).expect("a request");
    let answered = operator(Arc::clone(host)).layer(by).oneshot(request);
    answered.await.expect("routes never fail").status().as_u16()
}

/// Returns concurrency and starts of the rate.
fn limits(host: &Host) -> (usize, Option<u32>) {
    let running = host.running().next().expect("a service");
    let limits = running.subscriptions[0].limits();
    (limits.concurrency, limits.rate.map(|rate| rate.starts))
}

#[tokio::test]
async fn the_operator_of_one_replica_limits_both() {
    let directory = tempfile::tempdir().expect("a directory");
    let (runtime, tls) = (TokioRuntime::new(), TlsFiles::default());
    let opened = Backends::open(None, directory.path(), "statistics", &tls, &runtime).await;
    let backends = opened.expect("the directory opens");
    let (first, second) = (start(&backends).await, start(&backends).await);
    assert_eq!(limits(&first), (64, None));

    assert_eq!(post(&first, "limits?concurrency=4&rate=50/s").await, 202);
    assert_eq!(limits(&first), (4, Some(50)), "at once");
    let begun = Instant::now();
    while limits(&second) != (4, Some(50)) {
        assert!(begun.elapsed() < Duration::from_secs(60), "it never is");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(second.crash("statistics").await.expect("it restarts"));
    assert_eq!(limits(&second), (4, Some(50)), "over a restart");

    for wrong in ["concurrency=0", "rate=50", "rate=0/s", "speed=7"] {
        assert_eq!(
            post(&second, &format!("limits?{wrong}")).await,
            422,
            "{wrong}"
        );
    }
    assert_eq!(limits(&second), (4, Some(50)));
    assert_eq!(post(&second, "limits").await, 202);
    assert_eq!(limits(&second), (64, None), "as in the code");
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn the_operator_of_one_replica_pauses_and_resumes_both() {
    let directory = tempfile::tempdir().expect("a directory");
    let (runtime, tls) = (TokioRuntime::new(), TlsFiles::default());
    let opened = Backends::open(None, directory.path(), "statistics", &tls, &runtime).await;
    let backends = opened.expect("the directory opens");
    let (first, second) = (start(&backends).await, start(&backends).await);
    assert_eq!(control(&first), Control::Running);

    assert_eq!(post(&first, "pause").await, 202);
    assert_eq!(control(&first), Control::Paused, "at once");
    until(&second, Control::Paused).await;
    assert!(second.crash("statistics").await.expect("it restarts"));
    assert_eq!(control(&second), Control::Paused, "over a restart");

    assert_eq!(post(&second, "resume").await, 202);
    assert_eq!(control(&second), Control::Running, "at once");
    until(&first, Control::Running).await;
    first.stop().await;
    second.stop().await;
}
