//! The verification on SQLite, from another process, and on PostgreSQL.
#![allow(
    clippy::disallowed_methods,
    reason = "real stores: their clock is the machine's"
)]

use std::time::Instant;

use wingbeat::run::Backends;
use wingbeat::tls::TlsFiles;
use wingbeat::{Ports, TokioRuntime};
use wingbeat_embedded::{Config as Directory, Inspector};
use wingbeat_postgres::{Config, Postgres};

use super::faults::{assert_found, plant};
use super::*;

const PATIENCE: Duration = Duration::from_secs(60);

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.expect("it starts").block_on(future)
}

async fn embedded(directory: &std::path::Path) -> Ports {
    let (runtime, tls) = (TokioRuntime::new(), TlsFiles::default());
    let opened = Backends::open(None, directory, "library", &tls, &runtime).await;
    opened.expect("it opens").ports
}

async fn run_and_fill(ports: &Ports) -> Running {
    let running = library().start(ports.clone()).await.expect("it starts");
    fill(&running).await;
    let begun = Instant::now();
    while !is_filled(&*ports.store).await {
        assert!(begun.elapsed() < PATIENCE, "it is not filled");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    running
}

/// Verifies with a reader of its own, while the service runs.
async fn finds_what_was_planted(ports: &Ports, reader: Arc<dyn Store>) {
    let _running = run_and_fill(ports).await;
    reader.inspect(&[LIBRARY]).await.expect("it reads");
    assert_untouched(&verified(&library(), Arc::clone(&reader)).await);
    let planted = plant(&*ports.store).await;
    assert_found(&verified(&library(), reader).await, planted);
}

#[test]
fn each_planted_fault_is_found_in_a_directory_that_another_process_has_open() {
    block_on(async {
        let directory = tempfile::tempdir().expect("a directory");
        let ports = embedded(directory.path()).await;
        let reader = Inspector::open(&Directory::new(directory.path()));
        finds_what_was_planted(&ports, reader.expect("beside the other")).await;
    });
}

#[test]
fn each_planted_fault_is_found_on_postgresql() {
    let server = wingbeat_servers::Postgres::start();
    block_on(async {
        let directory = tempfile::tempdir().expect("a directory");
        let connect = || async {
            let config = Config::new(server.url());
            let connected = Postgres::connect(&config, TokioRuntime::new()).await;
            connected.expect("it connects")
        };
        let reader = connect().await;
        let unprepared = reader.inspect(&[LIBRARY]).await.expect_err("no schema");
        assert_eq!(unprepared.code(), "store_not_migrated");
        let ports = Ports {
            store: connect().await,
            ..embedded(directory.path()).await
        };
        finds_what_was_planted(&ports, reader).await;
    });
}
