//! The connections of a server on real sockets.
#![allow(
    clippy::disallowed_methods,
    reason = "these tests use real sockets and the machine's clock"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use wingbeat::http::{Json, Limits, read_body, serve_within};

const HOUR: Duration = Duration::from_secs(3600);

/// Starts a server. The route `/wait` answers once `gate` has a permit, `/large` with 1 MiB.
async fn start(limits: Limits) -> (SocketAddr, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let wait = move || async move {
        opened.acquire().await.expect("it stays open").forget();
        "waited"
    };
    let routes = Router::new()
        .route("/", get(async || "hello"))
        .route("/wait", get(wait))
        .route("/large", get(async || vec![b'a'; 1 << 20]))
        .route("/json", post(async |Json(it): Json<Value>| it.to_string()))
        .route(
            "/body",
            post(async |body: Body| read_body(body).await.map(drop)),
        );
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(serve_within(
        listener,
        routes,
        limits,
        std::future::pending(),
    ));
    (address, gate)
}

async fn connect(to: SocketAddr) -> TcpStream {
    TcpStream::connect(to).await.expect("the server listens")
}

async fn send(stream: &mut TcpStream, request: &str) {
    let sent = stream.write_all(request.as_bytes()).await;
    sent.expect("the server reads");
}

/// Sends a request that is the last of its connection and returns the response.
async fn ask(to: SocketAddr, request: &str) -> String {
    let mut stream = connect(to).await;
    drop(stream.write_all(request.as_bytes()).await);
    rest(stream).await
}

async fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    drop(stream.read_to_end(&mut bytes).await); // A reset ends it as well.
    String::from_utf8_lossy(&bytes).into_owned()
}

const LAST: &str = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
const WAIT: &str = "GET /wait HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn idle_connections_leave_a_new_client_its_answer() {
    let limits = Limits {
        connections: 8,
        ..Limits::default()
    };
    let (server, _) = start(limits).await;
    let mut idle = Vec::new();
    for number in 0..50 {
        let mut stream = connect(server).await;
        if number % 2 == 1 {
            send(&mut stream, "GET / HTTP/1.1\r\nhost: a\r\nx-slow: ").await;
        }
        idle.push(stream);
    }
    for _ in 0..10 {
        let answer = ask(server, LAST).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert_eq!(rest(idle.remove(0)).await, "", "the first one made room");
}

#[tokio::test]
async fn a_client_is_told_if_all_connections_are_in_use() {
    let limits = Limits {
        connections: 4,
        patience: HOUR,
        ..Limits::default()
    };
    let (server, gate) = start(limits).await;
    let mut busy = Vec::new();
    for _ in 0..4 {
        let mut stream = connect(server).await;
        send(&mut stream, WAIT).await;
        busy.push(stream);
    }
    // The server may not have read the last requests yet, and would close an idle connection.
    let refused = loop {
        let answer = ask(server, LAST).await;
        if !answer.starts_with("HTTP/1.1 200") {
            break answer;
        }
        for stream in &mut busy {
            let closed = match stream.try_read(&mut [0]) {
                Ok(read) => read == 0,
                Err(why) => why.kind() != std::io::ErrorKind::WouldBlock,
            };
            if closed {
                *stream = connect(server).await;
                send(stream, WAIT).await;
            }
        }
    };
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    let lower = refused.to_ascii_lowercase();
    for part in [
        "content-type: application/problem+json\r\n",
        "retry-after: 1\r\n",
        "connection: close\r\n",
        "\"code\":\"overloaded\"",
    ] {
        assert!(lower.contains(part), "{part} in {refused}");
    }
    gate.add_permits(busy.len());
    for stream in busy {
        let answer = rest(stream).await;
        assert!(answer.ends_with("waited"), "{answer}");
    }
    let answer = ask(server, LAST).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// A client that sends requests and never reads would hold its responses in memory for ever.
#[tokio::test]
async fn a_client_that_does_not_read_is_disconnected() {
    let limits = Limits {
        write_timeout: Duration::from_millis(200),
        ..Limits::default()
    };
    let (server, _) = start(limits).await;
    let mut stream = connect(server).await;
    let request = "GET /large HTTP/1.1\r\nhost: a\r\n\r\n";
    // More responses than the buffers of both sockets take.
    loop {
        if stream
            .write_all(request.repeat(64).as_bytes())
            .await
            .is_err()
        {
            break;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_ambiguous_request_is_refused_and_its_connection_closed() {
    let (server, _) = start(Limits::default()).await;
    for request in [
        "GET / HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\n\r\n",
        "GET http://localhost/ HTTP/1.1\r\nhost: evil.example\r\n\r\n",
        "GET http://evil.example/ HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nauthorization: a\r\nauthorization: b\r\n\r\n",
    ] {
        let answer = ask(server, request).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{request}: {answer}");
        assert!(
            answer.contains("\"code\":\"ambiguous_request\""),
            "{answer}"
        );
        assert!(
            answer.to_ascii_lowercase().contains("connection: close"),
            "{answer}"
        );
    }
    let absolute = "GET http://Localhost/ HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let answer = ask(server, absolute).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// The rest of the body never comes, or comes one byte after another.
#[tokio::test]
async fn a_body_that_does_not_arrive_in_time_is_answered_as_the_callers_fault() {
    let limits = Limits {
        body_timeout: Duration::from_millis(100),
        ..Limits::default()
    };
    let (server, _) = start(limits).await;
    for path in ["/json", "/body"] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
             content-length: 60000\r\n\r\n["
        );
        let answer = ask(server, &head).await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert!(answer.contains("\"code\":\"request_timeout\""), "{answer}");

        let (read, mut write) = connect(server).await.into_split();
        let dripping = async {
            let mut bytes = head.as_bytes().to_vec();
            while write.write_all(&bytes).await.is_ok() {
                bytes = b" ".to_vec();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let answered = async {
            let mut answer = String::new();
            let mut read = tokio::io::BufReader::new(read);
            let line = tokio::io::AsyncBufReadExt::read_line(&mut read, &mut answer);
            line.await.expect("it answers");
            answer
        };
        let answer = tokio::select! {
            biased;
            answer = answered => answer,
            () = dripping => panic!("the connection ends without an answer"),
        };
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
}

#[tokio::test]
async fn a_body_that_says_that_it_is_too_large_is_refused_before_it_arrives() {
    let limits = Limits {
        body_timeout: HOUR,
        ..Limits::default()
    };
    let (server, _) = start(limits).await;
    for path in ["/json", "/body"] {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
             content-length: 65537\r\n\r\n"
        );
        let answer = ask(server, &head).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        assert!(answer.contains("\"code\":\"body_too_large\""), "{answer}");
    }
}

#[tokio::test]
async fn a_compressed_body_is_refused_by_its_header() {
    let (server, _) = start(Limits::default()).await;
    let request = |encoding: &str| {
        format!(
            "POST /json HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
             content-encoding: {encoding}\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}"
        )
    };
    for encoding in ["gzip", "identity, gzip", "br"] {
        let answer = ask(server, &request(encoding)).await;
        assert!(answer.starts_with("HTTP/1.1 415"), "{encoding}: {answer}");
    }
    let answer = ask(server, &request("identity")).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
