//! TLS: what is verified, and that nothing crosses in plain text.

use wingbeat::TokioRuntime;
use wingbeat_core::Cache as _;
use wingbeat_core::cache::Durability::Volatile;
use wingbeat_redis::{Config, Redis, TlsFiles};
use wingbeat_servers::{Authority, Issued, Proxy, Redis as Server, free_port};

use crate::conformance::block_on;

const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];
const LONG: std::time::Duration = std::time::Duration::from_secs(60);

async fn connect(url: &str, files: &TlsFiles) -> wingbeat_core::Result<std::sync::Arc<Redis>> {
    let mut config = Config::new(url);
    config.tls = files.clone();
    config.timeout = LONG;
    config.connect_timeout = LONG;
    Redis::connect(&config, TokioRuntime::new()).await
}

/// Returns the code of the error; an empty text if the connection is accepted.
async fn result(url: &str, files: &TlsFiles) -> &'static str {
    connect(url, files).await.err().map_or("", |why| why.code())
}

fn files(authority: &Authority, client: Option<&Issued>) -> TlsFiles {
    TlsFiles {
        ca: Some(authority.certificate()),
        certificate: client.map(|it| it.certificate.clone()),
        key: client.map(|it| it.key.clone()),
    }
}

#[test]
fn a_connection_is_verified_as_its_url_says() {
    block_on(async {
        let (server, authority, port) = (Server::start(), Authority::new(), free_port());
        let own = files(&authority, None);
        let other = files(&Authority::new(), None);
        // A server without TLS may wait for the end of a line.
        let mut config = Config::new(server.url().replace("redis:", "rediss:"));
        config.tls = own.clone();
        let why = Redis::connect(&config, TokioRuntime::new()).await.err();
        assert_eq!(why.map(|it| it.code()), Some("cache_tls_failed"));
        let ca = authority.certificate();
        server.use_tls(port, &ca, &authority.issue(&NAMES), false);
        let url = format!("rediss://127.0.0.1:{port}/3");
        assert_eq!(result(&url, &own).await, "");
        assert_eq!(result(&url, &other).await, "cache_tls_failed");
        let unverified = format!("{url}?ssl_cert_reqs=none");
        assert_eq!(result(&unverified, &other).await, "");
        server.use_tls(port, &ca, &authority.issue(&["elsewhere"]), false);
        assert_eq!(result(&url, &own).await, "cache_tls_failed");
        server.use_tls(port, &ca, &authority.issue_expired(&NAMES), false);
        assert_eq!(result(&url, &own).await, "cache_tls_failed");
        // A server that requires certificates. It refuses the client after the handshake, and may
        // close the connection first.
        server.use_tls(port, &ca, &authority.issue(&NAMES), true);
        assert_ne!(result(&url, &own).await, "");
        let right = files(&authority, Some(&authority.issue_to("shop")));
        assert_eq!(result(&url, &right).await, "");
    });
}

/// Writes a value through a proxy, and returns what the proxy has seen: the password, the value.
async fn seen(target: u16, scheme: &str, files: &TlsFiles) -> (bool, bool) {
    let proxy = Proxy::start(target);
    let url = format!("{scheme}://shop:pass-of-shop@localhost:{}", proxy.port());
    let cache = connect(&url, files).await.unwrap();
    let value = "content-of-a-session".into();
    cache.put("session:a", value, LONG, Volatile).await.unwrap();
    (
        proxy.has_seen(b"pass-of-shop"),
        proxy.has_seen(b"content-of-a-session"),
    )
}

#[test]
fn neither_password_nor_value_crosses_in_plain_text() {
    block_on(async {
        let (server, authority, port) = (Server::start(), Authority::new(), free_port());
        let ca = authority.certificate();
        server.use_tls(port, &ca, &authority.issue(&NAMES), false);
        server.command("ACL SETUSER shop on >pass-of-shop ~* +@all", "+OK");
        let own = files(&authority, None);
        assert_eq!(seen(port, "rediss", &own).await, (false, false));
        // The control: without TLS the proxy finds both.
        assert_eq!(seen(server.port(), "redis", &own).await, (true, true));
    });
}
