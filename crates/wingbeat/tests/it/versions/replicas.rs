//! Both shapes, with replicas of both releases at the same time.
#![allow(
    clippy::disallowed_methods,
    reason = "real servers: their clock is the machine's"
)]

use std::time::Instant;

use wingbeat::run::{Backends, Servers};
use wingbeat::tls::TlsFiles;
use wingbeat::{Running, TokioRuntime};
use wingbeat_servers::{Postgres, RabbitMq, Redis};

use super::*;

async fn open(servers: Option<&Servers>) -> (Backends, tempfile::TempDir) {
    let directory = tempfile::tempdir().expect("a directory");
    let (runtime, tls) = (TokioRuntime::new(), TlsFiles::default());
    let opened = Backends::open(servers, directory.path(), "mails", &tls, &runtime).await;
    (opened.expect("it opens"), directory)
}

async fn start(app: App, backends: &Backends) -> Running {
    app.start(backends.ports.clone()).await.expect("it starts")
}

async fn until<T: PartialEq + std::fmt::Debug>(look: impl AsyncFn() -> T, wanted: T) {
    let begun = Instant::now();
    loop {
        let found = look().await;
        if found == wanted {
            return;
        }
        let waited = begun.elapsed();
        assert!(
            waited < Duration::from_secs(120),
            "{found:?}, not {wanted:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn parked(running: &Running) -> u64 {
    let parked = running.parked(Name::new("mails")).await;
    parked.expect("it can be read").values().sum()
}

async fn known(running: &Running) -> Known {
    let reads = running.reads("mails").expect("it runs");
    let known = reads.entity::<Known>(&"all".into()).await;
    known.expect("it can be read").unwrap_or_default()
}

async fn publish<M: wingbeat::handler::EventMessage + Clone>(running: &Running, event: M) {
    let orders = running.service("orders").expect("it runs");
    let published = run_unit(&orders, |scope| {
        let event = event.clone();
        async move { scope.publish(&event) }
    });
    published.await.expect("committed");
}

async fn a_rolling_upgrade_loses_nothing(servers: Option<&Servers>) {
    let (backends, _directory) = open(servers).await;
    // The new release binds the queue to the second version, and ends.
    let newer = start(new(), &backends).await;
    newer.drain().await;
    // On servers a second process has connections of its own.
    let second = match servers {
        Some(servers) => Some(open(Some(servers)).await),
        None => None,
    };
    let second = second.as_ref().map_or(&backends, |(second, _)| second);
    let other = start(old(), &backends).await;
    publish(&other, v2()).await;
    until(async || parked(&other).await, 1).await;
    publish(&other, v1()).await;
    until(async || known(&other).await.orders, 1).await;
    assert_eq!(parked(&other).await, 1);
    // Replicas of both releases run.
    let newer = start(new(), second).await;
    let both = Known {
        orders: 2,
        cents: 250,
    };
    until(async || known(&newer).await, both).await;
    until(async || parked(&newer).await, 0).await;
    let letters = newer.dead_letters(Name::new("mails")).await;
    assert_eq!(letters.expect("read").len(), 0);
    newer.drain().await;
    other.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_replicas_of_two_releases_lose_nothing() {
    a_rolling_upgrade_loses_nothing(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_of_two_releases_on_servers_lose_nothing() {
    let (broker, store, cache) = (RabbitMq::start(), Postgres::start(), Redis::start());
    let servers = Servers {
        broker: broker.url(),
        store: store.url(),
        cache: cache.url(),
        tls: TlsFiles::default(),
    };
    a_rolling_upgrade_loses_nothing(Some(&servers)).await;
}
