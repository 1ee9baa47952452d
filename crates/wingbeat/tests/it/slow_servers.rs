//! A start on servers that accept connections and are slow to answer.
#![allow(
    clippy::disallowed_methods,
    reason = "real servers: their clock is the machine's"
)]

use std::time::{Duration, Instant};

use wingbeat::run::{Backends, Servers};
use wingbeat::tls::TlsFiles;
use wingbeat::{Runtime as _, TokioRuntime};
use wingbeat_servers::{Fault, Postgres, Proxy, RabbitMq, Redis};

/// Slowness is an outage, not a wrong setting: the start connects again until the servers answer.
#[tokio::test]
async fn a_start_waits_for_servers_that_are_slow_to_answer() {
    let (rabbitmq, postgres, redis) = (RabbitMq::start(), Postgres::start(), Redis::start());
    let ports = [rabbitmq.port(), postgres.port(), redis.port()];
    let proxies = ports.map(Proxy::start);
    // What each client says first.
    for (proxy, first) in proxies.iter().zip([&b"AMQP"[..], b"user", b"PING"]) {
        proxy.break_on(first, Fault::Silence);
    }
    let through = |url: String, at: usize, parameters: &str| {
        let url = url.replace(&ports[at].to_string(), &proxies[at].port().to_string());
        format!("{url}{parameters}")
    };
    let servers = Servers {
        broker: through(rabbitmq.url(), 0, "?connection_timeout=700"),
        store: through(postgres.url(), 1, "?sslmode=disable&connect_timeout=1"),
        cache: through(redis.url(), 2, ""),
        tls: TlsFiles::default(),
    };
    let starting = tokio::spawn(async move {
        let (runtime, tls) = (TokioRuntime::new(), TlsFiles::default());
        let folder = tempfile::tempdir().expect("a directory");
        let opened = Backends::open(Some(&servers), folder.path(), "a", &tls, &runtime).await;
        opened.map(drop)
    });
    let (runtime, began) = (TokioRuntime::new(), Instant::now());
    while proxies.iter().any(|proxy| proxy.faults() < 2) {
        assert!(!starting.is_finished(), "it gave up");
        assert!(
            began.elapsed() < Duration::from_secs(50),
            "it does not try again"
        );
        runtime.sleep(Duration::from_millis(20)).await;
    }
    proxies.iter().for_each(Proxy::repair);
    let started = starting.await.expect("it does not panic");
    started.expect("all servers answer now");
}
