//! Several processes on SQLite and on PostgreSQL, of one release and of two.
#![allow(
    clippy::disallowed_methods,
    reason = "real stores: their clock is the machine's"
)]

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
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
    _directory: tempfile::TempDir,
}

async fn embedded() -> Two {
    let directory = tempfile::tempdir().expect("a directory");
    let (runtime, tls) = (TokioRuntime::new(), TlsFiles::default());
    let opened = Backends::open(None, directory.path(), "library", &tls, &runtime).await;
    let ports = opened.expect("it opens").ports;
    Two {
        first: ports.clone(),
        second: ports,
        _directory: directory,
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

async fn nothing<E: Entity>(_: Table<E>) -> Result<()> {
    Ok(())
}

/// A service that uses a table and has no subscriptions.
async fn start<E: Entity>(ports: &Ports) -> Running {
    let library = Service::new("library").poll("nothing", Duration::from_secs(3_600), nothing::<E>);
    let started = App::new().service(library).start(ports.clone()).await;
    started.expect("it starts")
}

async fn write<E: Entity<Id = String>>(running: &Running, id: &str, entity: E) {
    let library = running.service("library").expect("it runs");
    let (id, entity) = (&id.to_owned(), &entity);
    let written = run_unit(&library, |scope| async move {
        Table::of(&scope).put(id, entity.clone())
    });
    written.await.expect("it is stored");
}

async fn write_books<const RELEASE: u8>(running: &Running, books: std::ops::Range<u32>) {
    for number in books {
        let title = format!("Title {number}");
        let book = Book::<RELEASE> { title, year: 1999 };
        write(running, &format!("{number:04}"), book).await;
    }
}

async fn list<const RELEASE: u8>(running: &Running, column: &'static str) -> Option<usize> {
    let reads = running.reads("library").expect("it runs");
    match by::<RELEASE>(&reads, column).await {
        Ok(listed) => Some(listed.len()),
        Err(why) => {
            assert_eq!(why.code(), "index_incomplete");
            None
        }
    }
}

/// Asserts that a list is refused or complete, until it is complete.
async fn until_listed(running: &Running, books: usize) {
    let begun = Instant::now();
    loop {
        match list::<YEAR>(running, "year").await {
            Some(listed) => return assert_eq!(listed, books),
            None => assert!(begun.elapsed() < Duration::from_secs(150)),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn an_old_replica_delays_the_rebuild_until_it_ends(two: Two) {
    let old = start::<Book<TITLE>>(&two.first).await;
    write_books::<TITLE>(&old, 0..100).await;
    let new = start::<Book<YEAR>>(&two.second).await;
    let begun = Instant::now();
    let mut written = 100;
    // Longer than it takes to recognize a release that has ended.
    while begun.elapsed() < Duration::from_secs(45) {
        assert_eq!(list::<YEAR>(&new, "year").await, None);
        assert_eq!(list::<YEAR>(&new, "title").await, Some(written as usize));
        write_books::<TITLE>(&old, written..written + 1).await;
        written += 1;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    old.drain().await;
    until_listed(&new, written as usize).await;
    let rebuilt = rebuilds(&new).await;
    assert!(rebuilt[0].records >= u64::from(written), "{rebuilt:?}");
    // A rollback makes the column incomplete again.
    let old = start::<Book<TITLE>>(&two.first).await;
    write_books::<TITLE>(&old, 0..1).await;
    let again = start::<Book<YEAR>>(&two.second).await;
    assert_eq!(list::<YEAR>(&again, "year").await, None);
    for running in [old, new, again] {
        running.drain().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_replica_of_an_old_release_delays_the_rebuild() {
    an_old_replica_delays_the_rebuild_until_it_ends(embedded().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_of_an_old_release_on_postgres_delays_the_rebuild() {
    let server = wingbeat_servers::Postgres::start();
    an_old_replica_delays_the_rebuild_until_it_ends(postgres(&server).await).await;
}

/// Two ends that hold a rebuild between its read of a record and its commit.
struct Gate {
    reached: Sender<()>,
    pass: Receiver<()>,
}

/// A book whose second release stops at a gate once.
#[derive(Clone, Serialize, Deserialize)]
struct Gated<const RELEASE: u32, const STORE: usize> {
    year: u32,
}

static GATES: [Mutex<Option<Gate>>; 2] = [const { Mutex::new(None) }; 2];

impl<const RELEASE: u32, const STORE: usize> View for Gated<RELEASE, STORE> {
    const NAME: &'static str = "gated";
}

impl<const RELEASE: u32, const STORE: usize> Entity for Gated<RELEASE, STORE> {
    const NAME: &'static str = "gated";
    type Id = String;
    const VIEWS: &'static [ViewColumns] = &[ViewColumns::of::<Self>(&[])];
    const ROWS: u32 = RELEASE;

    fn rows(&self, id: &str) -> Vec<ViewRow> {
        let gate = GATES[STORE].lock().expect("no panic").take();
        if let Some(Gate { reached, pass }) = gate {
            let _ = reached.send(());
            let _ = tokio::task::block_in_place(|| pass.recv());
        }
        vec![ViewRow::of(id, self)]
    }
}

/// Another process changes a record after the rebuild has read it.
async fn a_newer_row_stays<const STORE: usize>(two: Two) {
    crate::again::disable();
    let old = start::<Gated<0, STORE>>(&two.first).await;
    write(&old, "a", Gated::<0, STORE> { year: 1999 }).await;
    old.drain().await;
    let (reached, reaches) = channel();
    let (passes, pass) = channel();
    let new = start::<Gated<1, STORE>>(&two.first).await;
    *GATES[STORE].lock().expect("no panic") = Some(Gate { reached, pass });
    tokio::task::block_in_place(|| reaches.recv_timeout(Duration::from_secs(150)))
        .expect("a rebuild reads the record");
    let other = start::<Gated<1, STORE>>(&two.second).await;
    let status = &rebuilds(&new).await[0];
    assert!(
        status.began.is_some() && status.done.is_none(),
        "{status:?}"
    );
    write(&other, "a", Gated::<1, STORE> { year: 2001 }).await;
    passes.send(()).expect("it waits");
    let begun = Instant::now();
    while rebuilds(&new).await[0].done.is_none() {
        assert!(begun.elapsed() < Duration::from_secs(150));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let reads = new.reads("library").expect("it runs");
    let row = reads.row::<Gated<1, STORE>>("a").await;
    assert_eq!(row.expect("it is complete").map(|it| it.year), Some(2001));
    for running in [new, other] {
        running.drain().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_row_that_another_embedded_process_writes_meanwhile_stays() {
    a_newer_row_stays::<0>(embedded().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_row_that_another_process_on_postgres_writes_meanwhile_stays() {
    let server = wingbeat_servers::Postgres::start();
    a_newer_row_stays::<1>(postgres(&server).await).await;
}

#[test]
fn without_validation_a_rebuild_overwrites_a_newer_row() {
    let guard = "rebuilding::replicas::a_row_that_another_embedded_process_writes_meanwhile_stays";
    crate::again::fails_without("read-set", guard);
}
