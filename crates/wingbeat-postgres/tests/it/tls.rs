//! TLS: what is verified, and that nothing crosses in plain text.

use std::sync::Arc;

use wingbeat::TokioRuntime;
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{Store as _, Topology};
use wingbeat_postgres::{Config, Postgres, TlsFiles};
use wingbeat_servers::{Authority, Issued, Postgres as Server, Proxy};

use crate::conformance::block_on;
use crate::replicas::{SERVICE, unit, write};

const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];

/// Returns the code of the error; an empty text if the connection is accepted.
async fn result(url: &str, files: &TlsFiles) -> &'static str {
    let mut config = Config::new(url);
    config.tls = files.clone();
    match Postgres::connect(&config, TokioRuntime::new()).await {
        Ok(store) => store.ping().await.err().map_or("", |why| why.code()),
        Err(why) => {
            let text = why.to_string();
            assert!(!text.contains("right") && !text.contains('\n'), "{text}");
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

#[test]
fn a_connection_is_verified_as_its_url_says() {
    block_on(async {
        let (server, authority) = (Server::start(), Authority::new());
        let (none, own) = (TlsFiles::default(), files(&authority, None));
        let other = files(&Authority::new(), None);
        let url = |mode: &str| format!("{}?{mode}", server.url());
        // The server does not offer TLS: only a URL that does not ask for it is accepted.
        for mode in [
            "sslmode=require",
            "sslmode=verify-full",
            "application_name=x",
        ] {
            assert_eq!(result(&url(mode), &own).await, "store_tls_failed", "{mode}");
        }
        assert_eq!(result(&url("sslmode=prefer"), &none).await, "");
        server.use_tls(&authority.certificate(), &authority.issue(&NAMES));
        let (full, ca) = (url("sslmode=verify-full"), url("sslmode=verify-ca"));
        assert_eq!(result(&full, &own).await, "");
        assert_eq!(result(&full, &other).await, "store_tls_failed");
        assert_eq!(result(&ca, &other).await, "store_tls_failed");
        assert_eq!(result(&url("sslmode=require"), &none).await, "");
        assert_eq!(result(&url("sslmode=prefer"), &none).await, "");
        let bound = url("sslmode=require").replace("postgres@", "guarded:right@");
        let _ = server.url_with_password("right");
        let bound = format!("{bound}&channel_binding=require");
        assert_eq!(result(&bound, &own).await, "");
        // A role that needs a certificate.
        server.sql("CREATE ROLE certified LOGIN SUPERUSER");
        let certified = full.replace("postgres@", "certified@");
        let (right, wrong) = (authority.issue_to("certified"), authority.issue_to("other"));
        assert_eq!(result(&certified, &own).await, "store_refused");
        let wrong = files(&authority, Some(&wrong));
        assert_eq!(result(&certified, &wrong).await, "store_refused");
        let right = files(&authority, Some(&right));
        assert_eq!(result(&certified, &right).await, "");
        // The wrong name, then an expired certificate.
        server.use_tls(&authority.certificate(), &authority.issue(&["elsewhere"]));
        assert_eq!(result(&full, &own).await, "store_tls_failed");
        assert_eq!(result(&ca, &own).await, "");
        let expired = authority.issue_expired(&NAMES);
        server.use_tls(&authority.certificate(), &expired);
        assert_eq!(result(&full, &own).await, "store_tls_failed");
        assert_eq!(result(&ca, &own).await, "store_tls_failed");
    });
}

/// Commits a record through a proxy, and returns what the proxy has seen: the password, the body.
async fn seen(server: &Server, mode: &str, files: &TlsFiles) -> (bool, bool) {
    let proxy = Proxy::start(server.port());
    let runtime: SharedRuntime = TokioRuntime::new();
    let mut config = Config::new(format!(
        "postgres://exposed:pass-of-exposed@localhost:{}/postgres?sslmode={mode}",
        proxy.port()
    ));
    config.tls = files.clone();
    let store = Postgres::connect(&config, Arc::clone(&runtime))
        .await
        .unwrap();
    store
        .prepare(&[SERVICE], &Topology::default())
        .await
        .unwrap();
    let mut unit = unit(&runtime);
    unit.writes
        .push(write("a", Some(b"body-of-a-record".to_vec())));
    store.commit(Arc::new(vec![unit])).await.unwrap();
    (
        proxy.has_seen(b"pass-of-exposed"),
        proxy.has_seen(b"body-of-a-record"),
    )
}

#[test]
fn neither_password_nor_body_crosses_in_plain_text() {
    block_on(async {
        let (server, authority) = (Server::start(), Authority::new());
        server.use_tls(&authority.certificate(), &authority.issue(&NAMES));
        server.sql("CREATE ROLE exposed LOGIN SUPERUSER PASSWORD 'pass-of-exposed'");
        let own = files(&authority, None);
        for mode in ["verify-full", "verify-ca", "require", "prefer"] {
            assert_eq!(seen(&server, mode, &own).await, (false, false), "{mode}");
        }
        // The control: without TLS the proxy finds both.
        assert_eq!(seen(&server, "disable", &own).await, (true, true));
    });
}
