//! The HTTP server: connections with limits, and a graceful shutdown.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::FutureExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt as _;

use super::connections::{Answering, Connections, Counted, Impatient, Limits, Place};
use super::host::ambiguity;
use super::problem::{self, Problem};
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
/// `axum::extract::ConnectInfo<SocketAddr>` of every request contains the peer's address. The file
/// descriptors of the process limit the number of connections; see [`Limits::of_process`].
///
/// [`wingbeat::run`](crate::run()) serves the routes of an app. This function is for programs that
/// start an app themselves.
///
/// ```no_run
/// use tokio::net::TcpListener;
/// use wingbeat::http::serve;
/// use wingbeat::{App, Ports};
///
/// async fn host(app: App, ports: Ports) -> Result<(), Box<dyn std::error::Error>> {
///     let running = app.start(ports).await?;
///     let listener = TcpListener::bind("127.0.0.1:8080").await?;
///     serve(listener, running.routes(), async { /* until a signal arrives */ }).await;
///     running.drain().await;
///     Ok(())
/// }
/// ```
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
    let unread = Unread::default();
    let stream = Impatient::new(stream, limits.write_timeout);
    let stream = Wire::new(stream, unread.clone());
    let place = Arc::new(place);
    let answered = Arc::clone(&place);
    let service = tower::service_fn(move |request| {
        let (routes, unread) = (routes.clone(), unread.clone());
        let answering = answered.answering();
        async move {
            let response = respond(routes, peer, request, &unread, limits).await;
            Ok::<_, Infallible>(counted(response, answering))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_MAX.max(16 << 10))
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    let connection = graceful.watch(connection);
    tokio::spawn(async move {
        tokio::select! {
            biased;
            _ = connection => {}
            () = place.closing() => {}
        }
    });
}

/// Lets the connection count as answering until the body of the response is sent.
fn counted(response: Response, answering: Answering) -> Response {
    response.map(|body| Body::new(Counted::new(body, answering)))
}

/// Answers one request. The connection can carry another one afterwards, or the response says that
/// it closes.
async fn respond(
    routes: Router,
    peer: SocketAddr,
    request: hyper::Request<Incoming>,
    unread: &Unread,
    limits: Limits,
) -> Response {
    let close = (header::CONNECTION, HeaderValue::from_static("close"));
    if let Some(why) = ambiguity(&request) {
        unread.mark();
        let problem = Problem::new(400, "ambiguous_request", why);
        return ([close], problem).into_response();
    }
    let (mut request, rest) = lend(request, limits.body_timeout);
    request.extensions_mut().insert(ConnectInfo(peer));
    let response = routes.oneshot(request).await;
    let mut response = problem::completed(response.unwrap_or_else(|never| match never {}));
    if let Some(rest) = rest
        && !rest.discard().await
    {
        response.headers_mut().insert(close.0, close.1);
        unread.mark();
    }
    response
}
