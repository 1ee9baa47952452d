//! The HTTP server: connections with limits, and a graceful shutdown.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use futures_util::FutureExt as _;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt as _;

/// The largest request body, in bytes.
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
    let service = routes.map_request(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request
            .extensions_mut()
            .insert(axum::extract::ConnectInfo(peer));
        request.map(axum::body::Body::new)
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
