//! The HTTP server: connections with limits, and a graceful shutdown.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::header;
use axum::response::IntoResponse as _;
use futures_util::FutureExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt as _;

use super::connections::{Connections, Counted, Impatient, Limits, Place};
use super::host::ambiguity;
use super::problem::Problem;

/// The largest request body, in bytes.
pub const BODY_MAX: usize = 64 << 10;
/// The largest request head, in bytes.
const HEAD_MAX: usize = 16 << 10;
/// The longest wait for a complete request head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest wait for open requests during the shutdown.
const FINISH: Duration = Duration::from_secs(5);

/// Serves until `end` resolves, then waits for open requests. The extension
/// `axum::extract::ConnectInfo<SocketAddr>` of every request contains the peer's address. The file
/// descriptors of the process limit the number of connections; see [`Limits::of_process`].
pub async fn serve(listener: TcpListener, routes: Router, end: impl Future<Output = ()> + Send) {
    serve_within(listener, routes, Limits::of_process(), end).await;
}

/// Serves like [`serve`], within these limits.
#[allow(clippy::disallowed_methods, reason = "the adapter for real sockets")]
pub async fn serve_within(
    listener: TcpListener,
    routes: Router,
    limits: Limits,
    end: impl Future<Output = ()> + Send,
) {
    let connections = Connections::new(limits);
    let graceful = GracefulShutdown::new();
    let mut end = std::pin::pin!(end);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut end => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, peer)) = accepted else {
            // The process is out of file descriptors: wait until connections close.
            connections.shed();
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        match connections.admit(peer.ip()) {
            Some(place) => answer(stream, peer, routes.clone(), place, limits, &graceful),
            None => refuse(&stream),
        }
    }
    // A client that has connected already may have sent a request. Resetting its connection would
    // leave it unknown whether the request was handled.
    while let Some(Ok((stream, peer))) = listener.accept().now_or_never() {
        match connections.admit(peer.ip()) {
            Some(place) => answer(stream, peer, routes.clone(), place, limits, &graceful),
            None => refuse(&stream),
        }
    }
    drop(listener);
    drop(tokio::time::timeout(FINISH, graceful.shutdown()).await);
}

/// Refuses a connection when all others are in use.
fn refuse(stream: &TcpStream) {
    let body = r#"{"type":"about:blank","title":"Service Unavailable","status":503,"code":"overloaded","detail":"too many connections; try again later"}"#;
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/problem+json\r\n\
         Content-Length: {}\r\nRetry-After: 1\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    drop(stream.try_write(answer.as_bytes())); // It fits into the empty buffer of the socket.
}

/// Answers the requests of one connection.
#[allow(clippy::disallowed_methods, reason = "the adapter for real sockets")]
fn answer(
    stream: TcpStream,
    peer: SocketAddr,
    routes: Router,
    place: Place,
    limits: Limits,
    graceful: &GracefulShutdown,
) {
    drop(stream.set_nodelay(true));
    let place = Arc::new(place);
    let answered = Arc::clone(&place);
    let service = tower::service_fn(move |mut request: hyper::Request<Incoming>| {
        let (routes, answering) = (routes.clone(), answered.answering());
        request.extensions_mut().insert(ConnectInfo(peer));
        async move {
            if let Some(why) = ambiguity(&request) {
                let problem = Problem::new(400, "ambiguous_request", why);
                let close = [(header::CONNECTION, "close")];
                return Ok((close, problem).into_response());
            }
            let response = routes.oneshot(request.map(Body::new)).await;
            response.map(|it| it.map(|body| Body::new(Counted::new(body, answering))))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_MAX.max(16 << 10))
        .serve_connection(
            TokioIo::new(Impatient::new(stream, limits.write_timeout)),
            TowerToHyperService::new(service),
        );
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        tokio::select! {
            biased;
            _ = connection => {}
            () = place.closing() => {}
        }
    });
}
