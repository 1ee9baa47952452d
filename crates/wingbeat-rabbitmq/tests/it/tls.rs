//! TLS: what is verified, and that nothing crosses in plain text. Several hosts.

use std::sync::Arc;
use std::time::Duration;

use wingbeat::TokioRuntime;
use wingbeat_core::conformance::{Bench, RESERVE, topology};
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{RuntimeExt as _, Transport as _};
use wingbeat_rabbitmq::{Config, RabbitMq, TlsFiles};
use wingbeat_servers::{Authority, Issued, Proxy};

use crate::conformance::{block_on, server};
use crate::traffic::{bench, until};

const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];
const LONG: Duration = Duration::from_secs(60);

fn config(url: String, files: &TlsFiles) -> Config {
    let runtime: SharedRuntime = TokioRuntime::new();
    let mut config = Config::new(url);
    config.namespace = format!("{}.", runtime.id().simple());
    config.tls = files.clone();
    config.connect_timeout = LONG;
    config
}

/// Returns the code of the error; an empty text if the connection is accepted.
async fn result(url: &str, files: &TlsFiles) -> &'static str {
    match RabbitMq::connect(&config(url.to_owned(), files), TokioRuntime::new()).await {
        Ok(transport) => transport.ping().await.err().map_or("", |why| why.code()),
        Err(why) => {
            let text = why.to_string();
            assert!(!text.contains("guest") && !text.contains('\n'), "{text}");
            why.code()
        }
    }
}

fn files(authority: &Authority, client: Option<&Issued>) -> TlsFiles {
    TlsFiles {
        ca: Some(authority.certificate()),
        certificate: client.map(|it| it.certificate.clone()),
        key: client.map(|it| it.key.clone()),
    }
}

/// Publishes a message through a proxy, and returns what the proxy has seen: the password, the
/// body.
async fn seen(target: u16, scheme: &str, files: &TlsFiles) -> (bool, bool) {
    let proxy = Proxy::start(target);
    let url = format!("{scheme}://guest:guest@localhost:{}", proxy.port());
    let (bench, _) = bench(&config(url, files)).await;
    publish(&bench).await;
    // PLAIN (RFC 4616): the user and the password, each after a NUL.
    (
        proxy.has_seen(b"\0guest\0guest"),
        proxy.has_seen(BODY.as_bytes()),
    )
}

const BODY: &str = "\"body-of-a-message\"";

async fn publish(bench: &Bench) {
    let mut message = bench.message(RESERVE);
    message.body = BODY.into();
    let results = bench.transport.publish(vec![message]).await;
    assert!(results.iter().all(|it| it.is_ok()), "{results:?}");
}

#[test]
fn a_connection_is_verified_and_nothing_crosses_in_plain_text() {
    block_on(async {
        let authority = Authority::new();
        let (good, elsewhere) = (authority.issue(&NAMES), authority.issue(&["elsewhere"]));
        let expired = authority.issue_expired(&NAMES);
        let listeners = [
            (&good, false),
            (&elsewhere, false),
            (&expired, false),
            (&good, true),
        ];
        let ports = server().listen_tls(&authority.certificate(), &listeners);
        let (own, other) = (files(&authority, None), files(&Authority::new(), None));
        let client = authority.issue_to("shop");
        let with_client = files(&authority, Some(&client));
        let plain = server().port();
        let cases = [
            (ports[0], "", &own, ""),
            (ports[0], "", &other, "broker_tls_failed"),
            (ports[0], "?verify=verify_none", &other, ""),
            (ports[1], "", &own, "broker_tls_failed"),
            (ports[1], "?server_name_indication=elsewhere", &own, ""),
            (ports[2], "", &own, "broker_tls_failed"),
            (ports[3], "", &with_client, ""),
            (plain, "", &own, "broker_tls_failed"),
        ];
        for (number, (port, query, files, expected)) in cases.into_iter().enumerate() {
            let url = format!("amqps://guest:guest@127.0.0.1:{port}{query}");
            assert_eq!(result(&url, files).await, expected, "case {number}");
        }
        // The node refuses the client after the handshake, and may close the connection first.
        let url = format!("amqps://guest:guest@127.0.0.1:{}", ports[3]);
        assert_ne!(result(&url, &own).await, "");
        assert_eq!(seen(ports[0], "amqps", &own).await, (false, false));
        // The control: without TLS the proxy finds both.
        assert_eq!(
            seen(plain, "amqp", &TlsFiles::default()).await,
            (true, true)
        );
    });
}

#[test]
fn of_several_hosts_one_that_is_available_is_used() {
    block_on(async {
        let url = format!("amqp://127.0.0.1:1,localhost:{}", server().port());
        assert_eq!(result(&url, &TlsFiles::default()).await, "");
        let url = "amqp://127.0.0.1:1,[::1]:1";
        assert_eq!(
            result(url, &TlsFiles::default()).await,
            "broker_unavailable"
        );
    });
}

/// The old connections stay open and silent, as if the machine of a node was lost. Heartbeats would
/// notice that after minutes.
#[test]
fn silent_connections_are_replaced() {
    block_on(async {
        let proxy = Proxy::start(server().port());
        let url = format!("amqp://127.0.0.1:{}?heartbeat=600", proxy.port());
        let mut config = config(url, &TlsFiles::default());
        config.confirm_timeout = Duration::from_secs(2);
        let (bench, transport) = bench(&config).await;
        transport.declare(&topology()).await.unwrap();
        publish(&bench).await;
        proxy.lead_to(server().port());
        let published = async || {
            // As a process does, once a second.
            let _ = transport.ping().await;
            let message = bench.message(RESERVE);
            let results = bench.transport.publish(vec![message]).await;
            results.iter().all(|it| it.is_ok())
        };
        until("messages are published again", published).await;
        let transport: Arc<RabbitMq> = transport;
        transport.ping().await.unwrap();
    });
}
