//! Outgoing HTTP with TLS, against servers whose certificates are made by the test.
#![allow(
    clippy::disallowed_methods,
    reason = "real sockets: their clock and their tasks are the machine's"
)]

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use wingbeat::Result;
use wingbeat::call::HyperClient;
use wingbeat::connections::Connections;
use wingbeat::outgoing::{Request, Response};
use wingbeat::ports::HttpClient as _;
use wingbeat::tls::TlsFiles;
use wingbeat_servers::{Authority, Issued};

/// A word in each request that nobody else may read.
const SECRET: &str = "a-secret-of-the-caller";
const NAMES: [&str; 2] = ["localhost", "127.0.0.1"];
const LONG: Duration = Duration::from_secs(60);

/// A server that answers every request with 200 and records what arrives on its socket.
struct Server {
    address: SocketAddr,
    /// The bytes that clients sent, as they were on the wire.
    wire: Arc<Mutex<Vec<u8>>>,
    /// The requests that the server could read.
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Starts it; without settings it speaks no TLS.
    async fn start(tls: Option<Arc<ServerConfig>>) -> Self {
        let inner = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let behind = inner.local_addr().expect("it is bound");
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let read = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((socket, _)) = inner.accept().await {
                let (tls, read) = (tls.clone(), Arc::clone(&read));
                tokio::spawn(async move {
                    match tls {
                        None => answer(socket, &read).await,
                        Some(config) => {
                            let accepted = TlsAcceptor::from(config).accept(socket).await;
                            if let Ok(socket) = accepted {
                                answer(socket, &read).await;
                            }
                        }
                    }
                });
            }
        });
        let (address, wire) = recorded(behind).await;
        Self {
            address,
            wire,
            requests,
        }
    }

    /// Sends a request to it under this name.
    async fn ask(&self, scheme: &str, name: &str, tls: &TlsFiles) -> Result<Response> {
        let request = Request {
            method: "POST",
            url: format!("{scheme}://{name}:{}/{SECRET}", self.address.port()),
            headers: vec![("authorization".into(), SECRET.into())],
            body: SECRET.into(),
            timeout: Duration::from_secs(20),
        };
        HyperClient::with_tls(tls.clone()).send(request).await
    }

    fn requests(&self) -> usize {
        self.requests.lock().expect("nobody panicked").len()
    }

    fn secret_crossed_in_clear(&self) -> bool {
        let wire = self.wire.lock().expect("nobody panicked");
        wire.windows(SECRET.len()).any(|it| it == SECRET.as_bytes())
    }
}

/// Reads requests and answers them.
async fn answer<S>(mut socket: S, requests: &Mutex<Vec<String>>)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut text = Vec::new();
    let mut buffer = [0_u8; 4_096];
    while let Ok(count @ 1..) = socket.read(&mut buffer).await {
        text.extend_from_slice(&buffer[..count]);
        let whole = String::from_utf8_lossy(&text).into_owned();
        if text.starts_with(&[0x16]) {
            // The begin of a TLS handshake is no HTTP.
            let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
            return;
        }
        // The body is the last thing that the client sends.
        if whole.starts_with("POST") && whole.ends_with(SECRET) && whole.contains("\r\n\r\n") {
            requests.lock().expect("nobody panicked").push(whole);
            text.clear();
            let reply =
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Server: a\r\nx-server: b\r\n\r\nok";
            let _ = socket.write_all(reply.as_bytes()).await; // The client may have left.
        }
    }
}

/// A proxy that records what clients send.
async fn recorded(behind: SocketAddr) -> (SocketAddr, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let wire = Arc::<Mutex<Vec<u8>>>::default();
    let record = Arc::clone(&wire);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let record = Arc::clone(&record);
            tokio::spawn(async move {
                let server = TcpStream::connect(behind).await.expect("it listens");
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                let up = async move {
                    let mut buffer = [0_u8; 4_096];
                    while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
                        record
                            .lock()
                            .expect("nobody panicked")
                            .extend_from_slice(&buffer[..count]);
                        if to_server.write_all(&buffer[..count]).await.is_err() {
                            break;
                        }
                    }
                    let _ = to_server.shutdown().await; // The server may be gone.
                };
                let down = async move {
                    let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
                    let _ = to_client.shutdown().await;
                };
                tokio::join!(up, down);
            });
        }
    });
    (address, wire)
}

/// Files with PEM data.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { folder }
    }

    fn with(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        let mut file = std::fs::File::create(&path).expect("a file");
        file.write_all(text.as_bytes()).expect("it is written");
        path.to_str().expect("it is text").to_owned()
    }

    fn trust(&self, authority: &Authority) -> TlsFiles {
        TlsFiles {
            ca: Some(self.with("ca.pem", &authority.certificate())),
            ..TlsFiles::default()
        }
    }

    fn identify(&self, trust: TlsFiles, client: &Issued) -> TlsFiles {
        TlsFiles {
            certificate: Some(self.with("client.pem", &client.certificate)),
            key: Some(self.with("client.key", &client.key)),
            ..trust
        }
    }
}

#[tokio::test]
async fn a_server_of_a_trusted_authority_is_answered_and_nothing_crosses_in_clear() {
    let (authority, files) = (Authority::new(), Files::new());
    let server = Server::start(Some(authority.issue(&NAMES).server(None))).await;
    let tls = files.trust(&authority);
    for name in NAMES {
        let response = server.ask("https", name, &tls).await.expect("an answer");
        assert_eq!((response.status, &response.body[..]), (200, &b"ok"[..]));
        let named = response
            .headers
            .iter()
            .filter(|(name, _)| name == "x-server");
        let values: Vec<&str> = named.map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, ["a", "b"]);
        assert_eq!(response.header("X-SERVER"), Some("a"));
    }
    assert_eq!(server.requests(), 2);
    assert!(!server.secret_crossed_in_clear());
}

/// The negative control of the recording: without TLS it finds the secret.
#[tokio::test]
async fn without_tls_the_recording_shows_the_secret() {
    let server = Server::start(None).await;
    let answered = server.ask("http", "localhost", &TlsFiles::default()).await;
    assert_eq!(answered.expect("an answer").status, 200);
    assert!(server.secret_crossed_in_clear());
}

#[tokio::test]
async fn a_certificate_that_is_not_valid_ends_the_request_before_it_is_sent() {
    let (authority, files) = (Authority::new(), Files::new());
    let tls = files.trust(&authority);
    let cases = [
        ("another authority", Authority::new().issue(&NAMES)),
        ("another name", authority.issue(&["shop.example"])),
        ("an expired certificate", authority.issue_expired(&NAMES)),
    ];
    for (case, certificate) in cases {
        let server = Server::start(Some(certificate.server(None))).await;
        let refused = server.ask("https", "localhost", &tls).await;
        let refused = refused.expect_err(case);
        assert_eq!(refused.code(), "tls_failed", "{case}: {refused}");
        assert_eq!(refused.class(), wingbeat::Class::Retry);
        assert!(
            refused.to_string().contains("nothing was sent"),
            "{refused}"
        );
        assert!(refused.to_string().contains("certificate"), "{refused}");
        assert_eq!(server.requests(), 0, "{case}");
        assert!(!server.secret_crossed_in_clear(), "{case}");
    }
}

#[tokio::test]
async fn the_authorities_of_the_system_do_not_include_one_that_nobody_installed() {
    let server = Server::start(Some(Authority::new().issue(&NAMES).server(None))).await;
    let refused = server.ask("https", "localhost", &TlsFiles::default()).await;
    let refused = refused.expect_err("it is not trusted");
    // A machine without any authorities cannot speak TLS at all.
    assert!(
        ["tls_failed", "tls_invalid"].contains(&refused.code()),
        "{refused}"
    );
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn an_https_url_never_becomes_a_plain_request() {
    let (authority, files) = (Authority::new(), Files::new());
    let server = Server::start(None).await;
    let tls = files.trust(&authority);
    let refused = server.ask("https", "localhost", &tls).await;
    let refused = refused.expect_err("the server speaks no TLS");
    assert_eq!(refused.code(), "tls_failed", "{refused}");
    assert_eq!(server.requests(), 0);
    assert!(!server.secret_crossed_in_clear());
}

#[tokio::test]
async fn a_client_certificate_is_sent_to_a_server_that_requires_one() {
    let (authority, files) = (Authority::new(), Files::new());
    let required = authority.issue(&NAMES).server(Some(&authority));
    let server = Server::start(Some(required)).await;
    let trust = files.trust(&authority);
    let refused = server.ask("https", "localhost", &trust).await;
    let refused = refused.expect_err("the client has none");
    assert_eq!(refused.class(), wingbeat::Class::Retry);
    assert_eq!(server.requests(), 0);
    let foreign = files.identify(trust.clone(), &Authority::new().issue_to("eve"));
    let answered = server.ask("https", "localhost", &foreign).await;
    assert!(answered.is_err(), "another authority issued it");
    let own = files.identify(trust, &authority.issue_to("shop"));
    let answered = server.ask("https", "localhost", &own).await;
    assert_eq!(answered.expect("an answer").status, 200);
}

#[tokio::test]
async fn a_renewed_authority_is_used_for_the_next_connection() {
    let (authority, files) = (Authority::new(), Files::new());
    let server = Server::start(Some(authority.issue(&NAMES).server(None))).await;
    let connections = Connections::new(LONG, files.trust(&Authority::new()));
    let send = async || {
        let url = format!("https://localhost:{}/", server.address.port());
        let request = http::Request::post(url).body(SECRET.into());
        let sent = connections.send(request.expect("a request")).await;
        sent.map(|response| response.status().as_u16())
    };
    let refused = send().await.expect_err("another authority issued it");
    assert_eq!(refused.error.code(), "tls_failed");
    files.trust(&authority); // The same file.
    assert_eq!(send().await.expect("an answer"), 200);
}

#[tokio::test]
async fn a_server_that_is_silent_is_left_in_time_and_gets_no_request() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = silent.local_addr().expect("it is bound").port();
    let (authority, files) = (Authority::new(), Files::new());
    let connections = Connections::new(Duration::from_millis(200), files.trust(&authority));
    let request = http::Request::get(format!("https://localhost:{port}/"));
    let request = request.body(SECRET.into()).expect("a request");
    let unanswered = tokio::time::timeout(LONG, connections.send(request)).await;
    let unanswered = unanswered.expect("it gives up").expect_err("no answer");
    assert!(!unanswered.sent, "{unanswered}");
}
