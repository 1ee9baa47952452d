//! The HTTP server: connections with limits, and a graceful shutdown.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures_util::FutureExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt as _;

use super::problem;
use super::unread::lend;
use super::wire::{Unread, Wire};

/// The largest request body, in bytes; see [`read_body`](super::read_body).
pub const BODY_MAX: usize = 64 << 10;
/// The largest request head, in bytes.
const HEAD_MAX: usize = 16 << 10;
/// The longest wait for a complete request head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest wait for open requests during the shutdown.
const FINISH: Duration = Duration::from_secs(5);

/// Serves until `end` resolves, then waits for open requests. The extension
/// `axum::extract::ConnectInfo<SocketAddr>` of every request contains the peer's address.
#[allow(clippy::disallowed_methods, reason = "the adapter for real sockets")]
pub async fn serve(listener: TcpListener, routes: Router, end: impl Future<Output = ()> + Send) {
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
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        answer(stream, peer, routes.clone(), &graceful);
    }
    // A client that has connected already may have sent a request. Resetting its connection would
    // leave it unknown whether the request was handled.
    while let Some(Ok((stream, peer))) = listener.accept().now_or_never() {
        answer(stream, peer, routes.clone(), &graceful);
    }
    drop(listener);
    drop(tokio::time::timeout(FINISH, graceful.shutdown()).await);
}

/// Answers the requests of one connection.
#[allow(clippy::disallowed_methods, reason = "the adapter for real sockets")]
fn answer(stream: TcpStream, peer: SocketAddr, routes: Router, graceful: &GracefulShutdown) {
    drop(stream.set_nodelay(true));
    let unread = Unread::default();
    let stream = Wire::new(stream, unread.clone());
    let service = tower::service_fn(move |request| {
        let (routes, unread) = (routes.clone(), unread.clone());
        async move { Ok::<_, Infallible>(respond(routes, peer, request, &unread).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_MAX.max(16 << 10))
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        drop(connection.await);
    });
}

/// Answers one request. The connection can carry another one afterwards, or the response says that
/// it closes.
async fn respond(
    routes: Router,
    peer: SocketAddr,
    request: hyper::Request<Incoming>,
    unread: &Unread,
) -> Response {
    let (mut request, rest) = lend(request);
    request.extensions_mut().insert(ConnectInfo(peer));
    let response = routes.oneshot(request).await;
    let mut response = problem::completed(response.unwrap_or_else(|never| match never {}));
    if let Some(rest) = rest
        && !rest.discard().await
    {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
        unread.mark();
    }
    response
}
