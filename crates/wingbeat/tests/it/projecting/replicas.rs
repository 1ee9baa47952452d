//! Several processes on SQLite and on PostgreSQL.
#![allow(
    clippy::disallowed_methods,
    reason = "real stores: their clock is the machine's"
)]

use std::sync::Arc;
use std::time::Instant;

use wingbeat::run::Backends;
use wingbeat::tls::TlsFiles;
use wingbeat::{Ports, TokioRuntime, run_unit};
use wingbeat_postgres::{Config, Postgres};

use super::*;

/// The ports of two processes.
struct Two {
    first: Ports,
    second: Ports,
    directory: tempfile::TempDir,
}

async fn embedded() -> Two {
    let directory = tempfile::tempdir().expect("a directory");
    let (runtime, tls) = (TokioRuntime::new(), TlsFiles::default());
    let opened = Backends::open(None, directory.path(), "shop", &tls, &runtime).await;
    let ports = opened.expect("it opens").ports;
    Two {
        first: ports.clone(),
        second: ports,
        directory,
    }
}

/// Returns ports with PostgreSQL as their store. The services of these tests have no messages.
async fn postgres(server: &wingbeat_servers::Postgres) -> Two {
    let connect = || async {
        let connected = Postgres::connect(&Config::new(server.url()), TokioRuntime::new()).await;
        connected.expect("it connects")
    };
    let two = embedded().await;
    Two {
        first: Ports {
            store: connect().await,
            ..two.first
        },
        second: Ports {
            store: connect().await,
            ..two.second
        },
        ..two
    }
}

async fn start<P: Projection<Aggregate = Order>>(ports: &Ports) -> Running {
    let shop = Service::new("shop").projects::<P>();
    let started = App::new().service(shop).start(ports.clone()).await;
    started.expect("it starts")
}

async fn sell(running: &Running, orders: std::ops::Range<u64>) {
    let shop = running.service("shop").expect("it runs");
    for number in orders {
        let (id, cents) = (&format!("{:04}", number % 90), number * 31);
        let sold = run_unit(&shop, |scope| async move {
            let _ = Repo::<Order>::of(&scope)
                .execute(id, Sold::Item { cents })
                .await?;
            Ok::<_, Error>(())
        });
        sold.await.expect("it is stored");
    }
}

async fn until_counted<const VERSION: u32>(running: &Running) {
    let begun = Instant::now();
    let reads = running.reads("shop").expect("it runs");
    loop {
        let status = &statuses(running).await;
        let is_shown = status.iter().any(|it| {
            let projection = it.projection.as_ref();
            projection.is_some_and(|it| it.shown == Some(VERSION))
        });
        let (shown, folded) = (
            shown(&reads).await,
            folded::<VERSION>(&*running.ports.store),
        );
        let folded = folded.await;
        if is_shown && shown.as_ref().ok() == Some(&folded) {
            return;
        }
        let late = begun.elapsed() > Duration::from_secs(150);
        assert!(!late, "{shown:?} and not {folded:?}; {status:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn replicas_count_each_event_once(two: Two) {
    let first = start::<ByPrice<1>>(&two.first).await;
    let second = start::<ByPrice<1>>(&two.second).await;
    tokio::join!(sell(&first, 0..300), sell(&second, 50..350));
    until_counted::<1>(&second).await;
    // The process that applies events ends without draining; the other one takes over.
    first.abandon();
    sell(&second, 0..100).await;
    until_counted::<1>(&second).await;
    second.drain().await;
    // The next release builds another version while orders go on.
    let first = start::<ByPrice<2>>(&two.first).await;
    let second = start::<ByPrice<2>>(&two.second).await;
    let begun = Instant::now();
    let mut number = 0;
    while begun.elapsed() < Duration::from_secs(50) {
        tokio::join!(
            sell(&first, number..number + 3),
            sell(&second, number..number + 3)
        );
        number += 3;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    until_counted::<2>(&first).await;
    let begun = Instant::now();
    while left(&*first.ports.store, 1).await != [0; 3] {
        assert!(begun.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    for running in [first, second] {
        running.drain().await;
    }
}

/// Verifies with a reader of its own while orders go on, and again once rows are damaged.
async fn verification_finds_damaged_rows(two: Two, reader: Arc<dyn Store>) {
    let first = start::<ByPrice<1>>(&two.first).await;
    sell(&first, 0..300).await;
    until_counted::<1>(&first).await;
    reader.inspect(&[SHOP]).await.expect("it reads");
    let app = App::new().service(Service::new("shop").projects::<ByPrice<1>>());
    let (seen, ()) = tokio::join!(
        verified::verified(&app, Arc::clone(&reader)),
        sell(&first, 300..400)
    );
    assert_eq!(seen.defects, BTreeMap::new(), "while orders go on");
    until_counted::<1>(&first).await;
    let planted = verified::plant(&*first.ports.store).await;
    let seen = verified::verified(&app, reader).await;
    assert_eq!(seen.defects, planted);
    first.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verification_finds_damaged_rows_in_a_directory_that_a_process_has_open() {
    let two = embedded().await;
    let directory = wingbeat_embedded::Config::new(two.directory.path());
    let reader = wingbeat_embedded::Inspector::open(&directory);
    verification_finds_damaged_rows(two, reader.expect("beside the other")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verification_finds_damaged_rows_on_postgres() {
    let server = wingbeat_servers::Postgres::start();
    let two = postgres(&server).await;
    let reader = Arc::clone(&two.second.store);
    verification_finds_damaged_rows(two, reader).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_replicas_count_each_event_once() {
    replicas_count_each_event_once(embedded().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_on_postgres_count_each_event_once() {
    let server = wingbeat_servers::Postgres::start();
    replicas_count_each_event_once(postgres(&server).await).await;
}
