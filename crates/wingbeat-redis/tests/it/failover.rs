//! Replicas, sentinels and clusters: the cache is used on a master only.

use std::time::Duration;

use wingbeat::TokioRuntime;
use wingbeat_core::Cache as _;
use wingbeat_core::cache::Durability::Volatile;
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_redis::{Config, Redis};
use wingbeat_servers::Redis as Server;

use crate::conformance::block_on;

const LONG: Duration = Duration::from_secs(60);

async fn connect(url: &str) -> wingbeat_core::Result<std::sync::Arc<Redis>> {
    let mut config = Config::new(url);
    config.timeout = LONG;
    config.connect_timeout = LONG;
    Redis::connect(&config, TokioRuntime::new()).await
}

/// The connection to the demoted server stays open; only its replies say that it is a replica.
#[test]
fn a_write_follows_the_master() {
    block_on(async {
        let (one, two) = (Server::start(), Server::start());
        two.command(&format!("REPLICAOF 127.0.0.1 {}", one.port()), "+OK");
        let url = format!("redis://127.0.0.1:{},127.0.0.1:{}", two.port(), one.port());
        let cache = connect(&url).await.unwrap();
        cache.put("a:1", "1".into(), LONG, Volatile).await.unwrap();
        two.command("REPLICAOF NO ONE", "+OK");
        one.command(&format!("REPLICAOF 127.0.0.1 {}", two.port()), "+OK");
        cache.put("a:1", "2".into(), LONG, Volatile).await.unwrap();
        assert_eq!(cache.get("a:1").await.unwrap(), Some("2".into()));
        // A check of the cache notices it as well.
        one.command("REPLICAOF NO ONE", "+OK");
        two.command(&format!("REPLICAOF 127.0.0.1 {}", one.port()), "+OK");
        let why = cache
            .ping()
            .await
            .expect_err("the connection leads to a replica");
        assert_eq!(why.code(), "cache_unavailable");
        let runtime: SharedRuntime = TokioRuntime::new();
        runtime.sleep(Duration::from_millis(300)).await; // The cooldown after a failure.
        cache.ping().await.unwrap();
        let alone = format!("redis://127.0.0.1:{}", two.port());
        let why = connect(&alone).await.err().expect("it is a replica");
        assert!(why.to_string().contains("replica"), "{why}");
    });
}

#[test]
fn sentinels_know_the_master_and_clusters_are_refused() {
    block_on(async {
        let master = Server::start();
        let sentinel = Server::start_sentinel(master.port());
        let url = format!("redis-sentinel://127.0.0.1:{}/2", sentinel.port());
        let cache = connect(&format!("{url}?master=shop")).await.unwrap();
        cache.put("a:1", "1".into(), LONG, Volatile).await.unwrap();
        let direct = connect(&format!("{}/2", master.url())).await.unwrap();
        assert_eq!(direct.get("a:1").await.unwrap(), Some("1".into()));
        let unknown = connect(&format!("{url}?master=other")).await.err().unwrap();
        assert!(unknown.to_string().contains("\"other\""), "{unknown}");
        let wrong = connect(&sentinel.url()).await.err().unwrap();
        assert!(wrong.to_string().contains("redis-sentinel"), "{wrong}");
        let cluster = Server::start_with(&["--cluster-enabled", "yes"]);
        let refused = connect(&cluster.url()).await.err().unwrap();
        assert_eq!(refused.code(), "cache_cluster");
    });
}
