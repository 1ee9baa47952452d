//! Tests of TLS against a server in this process.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests of connections run on the real clock"
)]

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use wingbeat_connect::rustls::pki_types::pem::PemObject as _;
use wingbeat_connect::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use wingbeat_connect::rustls::server::WebPkiClientVerifier;
use wingbeat_connect::rustls::{RootCertStore, ServerConfig, crypto};
use wingbeat_connect::{ConnectError, Host, Tls, TlsFiles, Verify, connect, is_tls_error};
use wingbeat_servers::{Authority, Issued};

/// Runs a test on its own tokio runtime.
fn block_on(test: impl Future<Output = ()>) {
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    tokio.unwrap().block_on(test);
}

/// Starts a server that sends `pong` to each client, and returns its host.
async fn server(acceptor: Option<TlsAcceptor>) -> Host {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                match acceptor {
                    Some(acceptor) => {
                        let mut stream = acceptor.accept(stream).await?;
                        stream.write_all(b"pong").await?;
                        stream.shutdown().await
                    }
                    None => stream.write_all(b"pong, in plain text").await,
                }
            });
        }
    });
    Host {
        name: "localhost".into(),
        port: Some(port),
    }
}

/// Returns the TLS of a server. With `clients`, it requires certificates of that authority.
fn acceptor(issued: &Issued, clients: Option<&Authority>) -> TlsAcceptor {
    let provider = Arc::new(crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            let authority = authority.certificate();
            roots
                .add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap())
                .unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        }
        None => builder.with_no_client_auth(),
    };
    let chain = vec![CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).unwrap();
    Arc::new(builder.with_single_cert(chain, key).unwrap()).into()
}

fn files(authority: &Authority, client: Option<&Issued>) -> TlsFiles {
    TlsFiles {
        ca: Some(authority.certificate()),
        certificate: client.map(|it| it.certificate.clone()),
        key: client.map(|it| it.key.clone()),
    }
}

/// Returns whether the server's reply arrives. Panics at any failure that is not one of TLS.
async fn replies(host: &Host, tls: &Tls) -> bool {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut stream = match connect(host, 1, Some(tls), deadline).await {
        Ok(stream) => stream,
        Err(ConnectError::Tls(_)) => return false,
        Err(ConnectError::Unavailable(why)) => panic!("{why}"),
    };
    let mut reply = Vec::new();
    match stream.read_to_end(&mut reply).await {
        Ok(_) => {
            assert_eq!(reply, b"pong");
            true
        }
        // A server refuses the client's certificate after the handshake.
        Err(why) => {
            assert!(is_tls_error(&why), "{why}");
            false
        }
    }
}

#[test]
fn only_the_certificate_of_the_server_is_accepted() {
    block_on(async {
        let (authority, other) = (Authority::new(), Authority::new());
        let good = server(Some(acceptor(&authority.issue(&["localhost"]), None))).await;
        let stranger = server(Some(acceptor(&authority.issue(&["elsewhere"]), None))).await;
        let expired = authority.issue_expired(&["localhost"]);
        let expired = server(Some(acceptor(&expired, None))).await;
        let plain = server(None).await;
        use Verify::{Full, Issuer, Nothing};
        let cases = [
            ("good", &good, &authority, Full, true),
            ("wrong authority", &good, &other, Full, false),
            ("wrong authority", &good, &other, Issuer, false),
            (
                "wrong authority, not verified",
                &good,
                &other,
                Nothing,
                true,
            ),
            ("wrong name", &stranger, &authority, Full, false),
            (
                "wrong name, not verified",
                &stranger,
                &authority,
                Issuer,
                true,
            ),
            ("expired", &expired, &authority, Full, false),
            ("expired", &expired, &authority, Issuer, false),
            ("without TLS", &plain, &authority, Full, false),
            ("without TLS", &plain, &authority, Nothing, false),
        ];
        for (case, host, authority, verify, expected) in cases {
            let tls = Tls::new(files(authority, None), verify).unwrap();
            assert_eq!(replies(host, &tls).await, expected, "{case} ({verify:?})");
        }
        let named = Tls::new(files(&authority, None), Full).unwrap();
        let named = named.with_server_name("elsewhere").unwrap();
        assert!(replies(&stranger, &named).await && !replies(&good, &named).await);
    });
}

/// A server that waits for the end of a line, for example.
#[test]
fn a_server_that_is_silent_does_not_speak_tls() {
    block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let host = Host {
            name: "127.0.0.1".into(),
            port: Some(listener.local_addr().unwrap().port()),
        };
        let tls = Tls::new(files(&Authority::new(), None), Verify::Full).unwrap();
        let deadline = Instant::now() + Duration::from_secs(2);
        let failed = connect(&host, 1, Some(&tls), deadline).await.err();
        assert!(matches!(failed, Some(ConnectError::Tls(_))), "{failed:?}");
    });
}

#[test]
fn a_server_gets_the_certificate_that_it_requires() {
    block_on(async {
        let (authority, other) = (Authority::new(), Authority::new());
        let issued = authority.issue(&["localhost"]);
        let host = server(Some(acceptor(&issued, Some(&authority)))).await;
        let (right, wrong) = (authority.issue_to("shop"), other.issue_to("shop"));
        for (client, expected) in [(None, false), (Some(&wrong), false), (Some(&right), true)] {
            let tls = Tls::new(files(&authority, client), Verify::Full).unwrap();
            assert_eq!(replies(&host, &tls).await, expected);
        }
    });
}

#[test]
fn a_renewed_file_is_used_for_the_next_connection() {
    block_on(async {
        let (authority, other) = (Authority::new(), Authority::new());
        let host = server(Some(acceptor(&authority.issue(&["localhost"]), None))).await;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, other.certificate()).unwrap();
        let files = TlsFiles {
            ca: Some(file.to_str().unwrap().to_owned()),
            ..TlsFiles::default()
        };
        let tls = Tls::new(files, Verify::Full).unwrap();
        assert!(!replies(&host, &tls).await);
        std::fs::write(&file, authority.certificate()).unwrap();
        assert!(replies(&host, &tls).await);
        std::fs::remove_file(&file).unwrap();
        assert!(replies(&host, &tls).await, "the last certificate is kept");
    });
}

#[test]
fn files_that_cannot_be_used_are_refused_without_their_content() {
    let authority = Authority::new();
    let (one, two) = (authority.issue_to("one"), authority.issue_to("two"));
    let own = |ca: &str, certificate: Option<&str>, key: Option<&str>| TlsFiles {
        ca: Some(ca.to_owned()),
        certificate: certificate.map(str::to_owned),
        key: key.map(str::to_owned),
    };
    let ca = authority.certificate();
    let cases = [
        (
            own("/nowhere.pem", None, None),
            "\"/nowhere.pem\" cannot be read",
        ),
        (own("/dev/null", None, None), "no certificate in PEM form"),
        (own(&one.key, None, None), "no certificate in PEM form"),
        (own(&ca, Some(&one.certificate), None), "needs its key"),
        (own(&ca, None, Some(&one.key)), "needs its certificate"),
        (
            own(&ca, Some(&one.certificate), Some(&two.key)),
            "do not fit",
        ),
        (
            own(&ca, Some(&one.certificate), Some(&two.certificate)),
            "no private key",
        ),
    ];
    for (files, expected) in cases {
        let Err(why) = Tls::new(files, Verify::Full) else {
            panic!("accepted instead of: {expected}");
        };
        let text = why.to_string();
        assert_eq!(why.code(), "tls_invalid");
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains("BEGIN"), "{text}");
    }
}
