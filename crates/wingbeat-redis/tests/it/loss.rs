//! A Redis that is lost, slow, emptied or full.

use std::sync::Arc;
use std::time::{Duration, Instant};

use wingbeat::TokioRuntime;
use wingbeat_core::cache::Durability::Volatile;
use wingbeat_core::cache::{Claim, Count, Decision, Mark, Terms};
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{Cache, Error, Result, Timestamp};
use wingbeat_redis::{Config, Redis};
use wingbeat_servers::Redis as Server;

use crate::conformance::{block_on, server};

const LONG: Duration = Duration::from_secs(60);
/// A generous time limit for one call, for a slow machine.
const LIMIT: Duration = Duration::from_secs(10);

async fn connect(url: &str) -> Result<Arc<Redis>> {
    let runtime: SharedRuntime = TokioRuntime::new();
    let mut config = Config::new(url);
    config.timeout = Duration::from_secs(2);
    Redis::connect(&config, runtime).await
}

async fn command(server: &Server, words: &[&str]) {
    let client = redis::Client::open(server.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut command = redis::cmd(words[0]);
    for word in &words[1..] {
        command.arg(word);
    }
    command.query_async::<()>(&mut connection).await.unwrap();
}

/// Checks that each call fails with `cache_unavailable` within its time limit.
async fn assert_unavailable(cache: &Redis) {
    for _ in 0..5 {
        let start = Instant::now();
        let errors: [Option<Error>; 4] = [
            cache.ping().await.err(),
            cache.get("a").await.err(),
            cache.put("a", "1".into(), LONG, Volatile).await.err(),
            cache.hit("n", LONG).await.err(),
        ];
        for error in errors {
            assert_eq!(
                error.expect("Redis is unavailable").code(),
                "cache_unavailable"
            );
        }
        assert!(start.elapsed() < 4 * LIMIT, "{:?}", start.elapsed());
    }
}

/// Waits until a value can be written and read again.
async fn assert_recovers(cache: &Redis) {
    let runtime: SharedRuntime = TokioRuntime::new();
    for _ in 0..100 {
        if cache
            .put("recovered", "1".into(), LONG, Volatile)
            .await
            .is_ok()
        {
            assert_eq!(cache.get("recovered").await.unwrap(), Some("1".into()));
            cache.ping().await.unwrap();
            return;
        }
        runtime.sleep(Duration::from_millis(100)).await;
    }
    panic!("the cache does not recover");
}

#[test]
fn calls_fail_fast_during_an_outage_and_succeed_afterwards() {
    block_on(async {
        let server = Server::start();
        let cache = connect(&server.url()).await.unwrap();
        cache.put("a", "1".into(), LONG, Volatile).await.unwrap();
        server.kill();
        server.start_again();
        // The client does not know that the connection was closed. The next call notices, and
        // succeeds.
        assert_eq!(cache.get("a").await.unwrap(), Some("1".into()));
        server.kill();
        assert_unavailable(&cache).await;
        server.start_again();
        assert_recovers(&cache).await;
        server.pause();
        assert_unavailable(&cache).await;
        server.resume();
        assert_recovers(&cache).await;
    });
}

/// The first reply has a longer time limit than later ones.
#[test]
fn a_slow_first_reply_does_not_fail_the_start() {
    block_on(async {
        let server = Arc::new(Server::start());
        server.pause();
        let runtime: SharedRuntime = TokioRuntime::new();
        let (resuming, clock) = (Arc::clone(&server), Arc::clone(&runtime));
        let resumed = tokio::spawn(async move {
            clock.sleep(Duration::from_secs(1)).await;
            resuming.resume();
        });
        let mut config = Config::new(server.url());
        config.connect_timeout = LONG;
        let cache = Redis::connect(&config, runtime).await.unwrap();
        resumed.await.unwrap();
        assert_recovers(&cache).await;
    });
}

/// The connection is lost, and opening another one times out. A later call must try again.
#[test]
fn a_reconnect_that_times_out_is_tried_again() {
    block_on(async {
        let server = Server::start();
        let cache = connect(&server.url()).await.unwrap();
        server.kill();
        assert_unavailable(&cache).await;
        server.start_again();
        server.pause();
        assert_unavailable(&cache).await;
        server.resume();
        assert_recovers(&cache).await;
    });
}

#[test]
fn an_emptied_server_works_and_a_full_one_is_unavailable() {
    block_on(async {
        let server = Server::start();
        let cache = connect(&server.url()).await.unwrap();
        cache.put("a:1", "1".into(), LONG, Volatile).await.unwrap();
        command(&server, &["FLUSHALL"]).await;
        command(&server, &["SCRIPT", "FLUSH"]).await;
        assert_eq!(cache.get("a:1").await.unwrap(), None);
        assert_eq!(cache.hit("n", LONG).await.unwrap(), 1);
        command(&server, &["CONFIG", "SET", "maxmemory", "1"]).await;
        let full = cache
            .put("a:1", "1".into(), LONG, Volatile)
            .await
            .unwrap_err();
        assert_eq!(full.code(), "cache_unavailable");
        command(&server, &["CONFIG", "SET", "maxmemory", "0"]).await;
        assert_recovers(&cache).await;
    });
}

#[test]
fn a_prefix_with_a_family_removes_only_its_keys() {
    block_on(async {
        let cache = connect(&server().url()).await.unwrap();
        let keys = ["list:a:1", "list:a:2", "list:ab", "list:b:1", "lists:a:1"];
        for key in keys {
            cache.put(key, "1".into(), LONG, Volatile).await.unwrap();
        }
        cache.remove_prefix("list:a:").await.unwrap();
        for key in keys {
            let there = cache.get(key).await.unwrap().is_some();
            assert_eq!(there, !key.starts_with("list:a:"), "{key}");
        }
    });
}

#[test]
fn a_connection_error_is_one_line_without_the_password() {
    block_on(async {
        let port = server().port();
        let cases = [
            ("http://u:s3cret@localhost".to_owned(), "cache_url_invalid"),
            (
                "redis://u:s3cret@127.0.0.1:1".to_owned(),
                "cache_unavailable",
            ),
            (
                format!("redis://u:s3cret@127.0.0.1:{port}"),
                "cache_refused",
            ),
        ];
        for (url, expected) in cases {
            let Err(why) = connect(&url).await else {
                panic!("connected instead of {expected}");
            };
            let text = why.to_string();
            assert_eq!(why.code(), expected, "{text}");
            assert!(!text.contains("s3cret") && !text.contains('\n'), "{text}");
        }
    });
}

/// A program that writes to the same server must not cause an outage of the cache.
#[test]
fn a_key_of_another_type_fails_no_other_request() {
    block_on(async {
        let server = Server::start();
        let cache = connect(&server.url()).await.unwrap();
        for key in ["session:one", "index:session", "limit:one"] {
            command(&server, &["HSET", &format!("wingbeat:{key}"), "a", "1"]).await;
        }
        let cache = &cache;
        let put = async |key| cache.put(key, "1".into(), LONG, Volatile).await;
        for _ in 0..3 {
            assert_eq!(cache.get("session:one").await.unwrap(), None);
            assert_eq!(cache.get("session:two").await.unwrap(), None);
        }
        assert_eq!(cache.hit("limit:one", LONG).await.unwrap(), 1);
        assert_eq!(cache.hit("limit:one", LONG).await.unwrap(), 2);
        put("session:two").await.unwrap();
        let swap = cache.replace("session:one", None, "2".into(), LONG, Volatile);
        assert!(swap.await.unwrap(), "it counts as absent");
        assert_eq!(cache.get("session:one").await.unwrap(), Some("2".into()));
        command(&server, &["DEL", "wingbeat:index:session"]).await;
        command(&server, &["SET", "wingbeat:index:session", "text"]).await;
        cache.remove("session:two").await.unwrap();
        cache.remove_prefix("session:").await.unwrap();
        put("session:two").await.unwrap();
        cache.remove_prefix("session:").await.unwrap();
        assert_eq!(cache.get("session:two").await.unwrap(), None);
    });
}

/// A refused command is an answer. It says nothing about the commands of other callers.
#[test]
fn a_command_that_redis_refuses_is_no_outage() {
    block_on(async {
        let server = Server::start();
        let port = server.port();
        let user = [
            "ACL",
            "SETUSER",
            "shop",
            "on",
            ">pw",
            "+@all",
            "~wingbeat:*",
            "%R~secret:*",
        ];
        command(&server, &user).await;
        let mut config = Config::new(format!("redis://shop:pw@127.0.0.1:{port}"));
        config.timeout = Duration::from_secs(2);
        let runtime: SharedRuntime = TokioRuntime::new();
        let cache = Redis::connect(&config, runtime.clone()).await.unwrap();
        config.namespace = "secret:".into();
        let denied = Redis::connect(&config, runtime).await.unwrap();
        for _ in 0..3 {
            let error = denied
                .put("a", "1".into(), LONG, Volatile)
                .await
                .unwrap_err();
            assert_eq!(error.code(), "cache_failed", "{error}");
            assert_eq!(denied.get("a").await.unwrap(), None, "there is no cooldown");
            cache.put("a", "1".into(), LONG, Volatile).await.unwrap();
        }
    });
}

/// One damaged entry must not stop the claims behind it.
#[test]
fn a_damaged_claim_is_returned_without_an_id_and_settled() {
    block_on(async {
        let server = Server::start();
        let cache = connect(&server.url()).await.unwrap();
        let allotments = cache.allotments().unwrap();
        let terms = Terms {
            opens_at: Timestamp::from_millis(0),
            closes_at: Timestamp::MAX,
            per_holder: 1,
            log_max: 10,
        };
        let count = |revision| Count {
            revision,
            free: 5,
            holders: Vec::new(),
        };
        allotments
            .allot("sale", terms, count(1), LONG)
            .await
            .unwrap();
        for holder in ["ann", "bob", "eve", "zoe"] {
            let claim = Claim {
                holder: holder.into(),
                id: format!("id-{holder}"),
                operation: None,
            };
            let decided = allotments.claim("sale", claim).await.unwrap();
            assert_eq!(decided, Decision::Granted);
        }
        command(&server, &["LSET", "wingbeat:sale:log", "1", "none of ours"]).await;
        command(&server, &["LSET", "wingbeat:sale:log", "2", "99:short"]).await;
        let log = allotments.claims("sale", 10).await.unwrap().unwrap();
        let ids: Vec<_> = log.entries.iter().map(|it| it.id.as_str()).collect();
        assert_eq!(ids, ["id-ann", "", "", "id-zoe"]);
        assert_eq!(log.left, 1);
        let mark = Mark {
            until: log.first + 3,
            generation: log.generation,
        };
        assert!(allotments.settle("sale", mark, count(2)).await.unwrap());
        let log = allotments.claims("sale", 10).await.unwrap().unwrap();
        let ids: Vec<_> = log.entries.iter().map(|it| it.id.as_str()).collect();
        assert_eq!((ids, log.left), (vec!["id-zoe"], 4));
    });
}
