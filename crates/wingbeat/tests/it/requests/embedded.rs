//! Requests on one embedded store.
#![allow(
    clippy::disallowed_methods,
    reason = "a real process: its clock is the machine's"
)]

use std::time::Duration;

use futures_util::future::join_all;
use wingbeat::TokioRuntime;
use wingbeat::run::Backends;
use wingbeat::runtime::TaskGroup;
use wingbeat::tls::TlsFiles;

use super::{Settings, get, requests, with};

const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test]
async fn an_embedded_service_asks_another_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let (runtime, tls) = (TokioRuntime::new(), TlsFiles::default());
    let opened = Backends::open(None, directory.path(), "shop", &tls, &runtime).await;
    let mut ports = opened.expect("the directory opens").ports;
    let tasks = TaskGroup::new(runtime);
    ports.runtime = tasks.clone();
    let running = with(&Settings::default())
        .start(ports)
        .await
        .expect("it starts");
    let requests = requests(&running);

    let asked = (0..50).map(|it| requests.ask(get(&it.to_string())).within(LIMIT));
    for outcome in join_all(asked).await {
        assert_eq!(outcome.expect("a reply").number, 1);
    }
    let rejected = requests.ask(get("tea")).within(LIMIT).await;
    assert_eq!(rejected.expect_err("a rejection").code(), "unknown_sku");
    assert_eq!((requests.pending(), requests.late()), (0, 0));
    running.drain().await;
    let after = requests.ask(get("egg")).within(LIMIT).await;
    assert_eq!(
        after.expect_err("it has ended").code(),
        "request_unavailable"
    );
    tasks.kill().await;
}
