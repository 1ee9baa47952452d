//! The server stops and restarts, cannot be reached, or has data of a later release.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use wingbeat::TokioRuntime;
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{Class, Key, Name, RuntimeExt as _, Store as _, Topology};
use wingbeat_postgres::{Config, Postgres};
use wingbeat_servers::Postgres as Server;

use crate::conformance::{block_on, open, server};
use crate::replicas::{SERVICE, increment, numbers, prepared};

/// Workers commit while the server terminates all backends and restarts. Each unit is submitted
/// until its outcome is known; none is lost, and none takes effect twice.
#[test]
fn units_with_an_unknown_outcome_are_committed_once() {
    block_on(async {
        let server = Arc::new(Server::start());
        let runtime: SharedRuntime = TokioRuntime::new();
        let store = Postgres::connect(&Config::new(server.url()), Arc::clone(&runtime))
            .await
            .unwrap();
        store
            .prepare(&[SERVICE], &Topology::default())
            .await
            .unwrap();
        let ids: Vec<String> = (0..4).map(|n| format!("n{n}")).collect();
        let over = Arc::new(AtomicBool::new(false));
        let workers = ids.iter().map(|id| {
            let (store, runtime) = (Arc::clone(&store), Arc::clone(&runtime));
            let (over, ids) = (Arc::clone(&over), [id.clone()]);
            tokio::spawn(async move {
                let mut added = 0;
                while !over.load(Ordering::SeqCst) && added < 250 {
                    increment(&store, &runtime, &ids).await;
                    added += 1;
                    runtime.sleep(std::time::Duration::from_millis(10)).await;
                }
                added
            })
        });
        let workers: Vec<_> = workers.collect();
        let restarting = Arc::clone(&server);
        let restarting = tokio::task::spawn_blocking(move || {
            for _ in 0..2 {
                restarting.terminate_backends();
                restarting.stop();
                restarting.start_again();
            }
        });
        restarting.await.unwrap();
        over.store(true, Ordering::SeqCst);
        let mut added = Vec::new();
        for worker in workers {
            added.push(worker.await.unwrap());
        }
        assert_eq!(numbers(&store, &ids).await, added);
    });
}

async fn refused(url: &str) -> (String, String) {
    let runtime: SharedRuntime = TokioRuntime::new();
    let why = match Postgres::connect(&Config::new(url), runtime).await {
        Ok(_) => panic!("{url} can be reached"),
        Err(why) => why,
    };
    (why.code().to_owned(), why.to_string())
}

#[test]
fn a_failed_connection_is_reported_in_one_line_without_the_password() {
    block_on(async {
        let port = server().port();
        let cases = [
            (
                "mysql://u:s3cret@localhost/db".to_owned(),
                "store_url_invalid",
            ),
            (
                "postgres://u:s3cret@127.0.0.1:1/db".to_owned(),
                "store_unavailable",
            ),
            (server().url_with_password("s3cret"), "store_refused"),
            (
                format!("postgres://nobody:s3cret@127.0.0.1:{port}/postgres"),
                "store_refused",
            ),
            (
                format!("postgres://postgres:s3cret@127.0.0.1:{port}/nowhere"),
                "store_refused",
            ),
        ];
        for (url, expected) in cases {
            let (code, text) = refused(&url).await;
            assert_eq!(code, expected, "{text}");
            assert!(!text.contains("s3cret") && !text.contains('\n'), "{text}");
            if code != "store_url_invalid" {
                assert!(text.contains("127.0.0.1:"), "{text}");
            }
        }
        let right = server().url_with_password("right");
        let accepted = Postgres::connect(&Config::new(right), TokioRuntime::new()).await;
        assert!(accepted.is_ok(), "only the password was wrong");
    });
}

/// A value that PostgreSQL cannot compare with blames the caller, and no server.
#[test]
fn a_read_with_an_impossible_value_is_no_outage() {
    block_on(async {
        let runtime: SharedRuntime = TokioRuntime::new();
        let store = open(&format!("nul{}_", runtime.id().simple()), &runtime).await;
        let service = Name::new("numbers");
        store
            .prepare(&[service], &Topology::default())
            .await
            .unwrap();
        let key = Key::new(Name::new("number"), "a\0b");
        let read = store.load(service, &key).await;
        let why = read.expect_err("PostgreSQL refuses it");
        assert_eq!((why.code(), why.class()), ("unstorable", Class::Reject));
        let known = Key::new(Name::new("number"), "a");
        assert_eq!(store.load(service, &known).await.unwrap(), None);
    });
}

/// Waits until `ping` has this result.
async fn until_pinged(store: &Postgres, runtime: &SharedRuntime, wanted: Option<&str>) {
    for _ in 0..600 {
        let failed = store.ping().await.err();
        if failed.map(|why| why.code()) == wanted {
            return;
        }
        runtime.sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("ping never answers {wanted:?}");
}

#[test]
fn a_ping_fails_while_the_server_is_stopped_or_read_only() {
    block_on(async {
        let server = Server::start();
        let runtime: SharedRuntime = TokioRuntime::new();
        let config = Config::new(server.url());
        let store = Postgres::connect(&config, Arc::clone(&runtime)).await;
        let store = store.unwrap();
        store.ping().await.unwrap();
        server.stop();
        until_pinged(&store, &runtime, Some("store_unavailable")).await;
        server.start_again();
        until_pinged(&store, &runtime, None).await;
        for (setting, wanted) in [("on", Some("store_unavailable")), ("off", None)] {
            server.sql(&format!(
                "ALTER SYSTEM SET default_transaction_read_only = {setting}"
            ));
            server.sql("SELECT pg_reload_conf()");
            until_pinged(&store, &runtime, wanted).await;
        }
    });
}

#[test]
fn data_of_a_later_release_is_refused() {
    block_on(async {
        let runtime: SharedRuntime = TokioRuntime::new();
        let prefix = format!("newer{}_", runtime.id().simple());
        prepared(&prefix, &runtime).await;
        let schema = format!("\"{prefix}{SERVICE}\"");
        // The first later layout can be used by this release, the second cannot.
        server().sql(&format!("INSERT INTO {schema}.layout VALUES (3, 1)"));
        prepared(&prefix, &runtime).await;
        server().sql(&format!("INSERT INTO {schema}.layout VALUES (9, 9)"));
        let store = open(&prefix, &runtime).await;
        let refused = store.prepare(&[SERVICE], &Topology::default()).await;
        let why = refused.expect_err("it is newer");
        assert_eq!(why.code(), "data_newer");
        assert!(!why.to_string().contains('\n'), "{why}");
    });
}
