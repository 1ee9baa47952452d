//! A standby is promoted: writes go on there, and none is lost or takes effect twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use wingbeat::TokioRuntime;
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{Store as _, Topology};
use wingbeat_postgres::{Config, Postgres};
use wingbeat_servers::{Postgres as Server, Proxy};

use crate::conformance::block_on;
use crate::replicas::{SERVICE, increment, numbers};

/// The time limit for writes to go on, for a slow machine. Without the mechanism they wait for
/// [`STATEMENT_TIMEOUT`].
const LIMIT: Duration = Duration::from_secs(60);
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(300);

/// Starts a server and a standby of it. A commit waits until the standby has it.
fn pair() -> (Arc<Server>, Arc<Server>) {
    let primary = Server::start();
    let standby = primary.start_standby();
    primary.sql("ALTER SYSTEM SET synchronous_standby_names = '*'");
    primary.sql("SELECT pg_reload_conf()");
    (Arc::new(primary), Arc::new(standby))
}

async fn open(config: &Config, runtime: &SharedRuntime) -> Arc<Postgres> {
    let store = Postgres::connect(config, Arc::clone(runtime))
        .await
        .unwrap();
    store
        .prepare(&[SERVICE], &Topology::default())
        .await
        .unwrap();
    store
}

/// Increments a number until `fail_over` has ended and one increment more was committed. Then pings
/// the store, as a process does: an increment may wait for the old server by now.
///
/// Returns the time from the end of `fail_over` to the last increment.
async fn increment_during(
    store: &Arc<Postgres>,
    runtime: &SharedRuntime,
    fail_over: impl FnOnce() + Send + 'static,
) -> Duration {
    let over = Arc::new(AtomicBool::new(false));
    let working = {
        let (store, runtime, over) = (Arc::clone(store), Arc::clone(runtime), Arc::clone(&over));
        tokio::spawn(async move {
            let mut added = 0;
            loop {
                let last = over.load(Ordering::SeqCst);
                increment(&store, &runtime, &["n".to_owned()]).await;
                added += 1;
                if last {
                    return added;
                }
                // The number is a byte.
                runtime.sleep(Duration::from_millis(200)).await;
            }
        })
    };
    tokio::task::spawn_blocking(fail_over).await.unwrap();
    let promoted = Instant::now();
    let pinging = {
        let (store, runtime) = (Arc::clone(store), Arc::clone(runtime));
        tokio::spawn(async move {
            loop {
                let _ = store.ping().await;
                runtime.sleep(Duration::from_millis(500)).await;
            }
        })
    };
    over.store(true, Ordering::SeqCst);
    let added = tokio::time::timeout(LIMIT, working).await;
    let added: u8 = added.expect("writes go on after the failover").unwrap();
    let took = promoted.elapsed();
    pinging.abort();
    assert_eq!(numbers(store, &["n".to_owned()]).await, [added]);
    took
}

/// The standby comes first in the URL: it is passed over until it is promoted.
#[test]
fn of_several_hosts_the_one_that_accepts_writes_is_used() {
    block_on(async {
        let (primary, standby) = pair();
        let runtime: SharedRuntime = TokioRuntime::new();
        let mut config = Config::new(format!(
            "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/postgres",
            standby.port(),
            primary.port()
        ));
        config.statement_timeout = STATEMENT_TIMEOUT;
        let store = open(&config, &runtime).await;
        let fail_over = move || {
            primary.stop();
            standby.promote();
            FAILED_OVER.lock().unwrap().push(standby);
        };
        let took = increment_during(&store, &runtime, fail_over).await;
        println!("several hosts: writes go on {took:?} after the promotion");
    });
}

/// Keeps the promoted servers until the test has read from them.
static FAILED_OVER: std::sync::Mutex<Vec<Arc<Server>>> = std::sync::Mutex::new(Vec::new());

/// The old server is not ended: it is silent, as if its machine was lost.
#[test]
fn writes_follow_an_address_that_leads_to_another_server() {
    block_on(async {
        let (primary, standby) = pair();
        let proxy = Arc::new(Proxy::start(primary.port()));
        let runtime: SharedRuntime = TokioRuntime::new();
        let mut config = Config::new(format!(
            "postgres://postgres@127.0.0.1:{}/postgres",
            proxy.port()
        ));
        config.statement_timeout = STATEMENT_TIMEOUT;
        let store = open(&config, &runtime).await;
        let switching = Arc::clone(&proxy);
        let fail_over = move || {
            // To a port where nobody listens, until the promotion.
            switching.lead_to(1);
            standby.promote();
            switching.lead_to(standby.port());
            FAILED_OVER.lock().unwrap().extend([standby, primary]);
        };
        let took = increment_during(&store, &runtime, fail_over).await;
        println!("same address: writes go on {took:?} after the promotion");
    });
}

/// Sessions of a demoted server are closed at the first write that it refuses.
#[test]
fn a_connection_to_a_read_only_server_is_closed() {
    block_on(async {
        let server = Server::start();
        let runtime: SharedRuntime = TokioRuntime::new();
        let store = open(&Config::new(server.url()), &runtime).await;
        let ids = ["n".to_owned()];
        increment(&store, &runtime, &ids).await;
        let sessions = || {
            let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'wingbeat'";
            server.sql(sql)
        };
        assert_ne!(sessions().trim(), "0");
        server.sql("ALTER SYSTEM SET default_transaction_read_only = on");
        server.sql("SELECT pg_reload_conf()");
        let deadline = Instant::now() + LIMIT;
        loop {
            let mut unit = crate::replicas::unit(&runtime);
            unit.writes.push(crate::replicas::write("m", Some(vec![1])));
            let refused = store.commit(Arc::new(vec![unit])).await.is_err();
            if refused && sessions().trim() == "0" {
                break;
            }
            assert!(Instant::now() < deadline, "the session stays open");
            runtime.sleep(Duration::from_millis(50)).await;
        }
        server.sql("ALTER SYSTEM SET default_transaction_read_only = off");
        server.sql("SELECT pg_reload_conf()");
        increment(&store, &runtime, &ids).await;
        assert_eq!(numbers(&store, &ids).await, [2]);
    });
}
