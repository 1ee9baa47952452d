//! The reverse proxy: forwards requests to the replicas of services, and their replies, including
//! streams.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request};
use axum::http::request::Parts;
use axum::http::uri::Uri;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::future::join_all;
use hyper::body::Incoming;
use tracing::Span;
use wingbeat::RuntimeExt as _;
use wingbeat::connections::{Connections, Unanswered};
use wingbeat::http::{Problem, read_body};
use wingbeat::ports::Signatures;
use wingbeat::run::ops::{Answer, Asked, Processes};
use wingbeat::telemetry;
use wingbeat::tls::TlsFiles;
use wingbeat::trust::{CALLER_HEADER, RequestText};
use wingbeat::{BoxFuture, Name, SharedRuntime};

use crate::edge::SERVICE;
use crate::upstream::{Replica, Upstream};

/// The timeout of a connect.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// The pauses before all replicas are tried again. A replica that restarts is back within them.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(600),
];
/// The largest reply in bytes that the gateway itself reads.
const REPLY_MAX: usize = 8 << 20;

/// Headers that belong to one connection (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];
/// Prefixes of the headers that only the gateway sets. It removes them from callers' requests.
const GATEWAY_ONLY: [&str; 5] = [
    "forwarded",
    "x-forwarded-",
    "x-real-ip",
    "x-wingbeat-",
    CALLER_HEADER,
];

/// A reverse proxy to services.
pub struct Proxy {
    connections: Connections,
    upstreams: BTreeMap<String, Upstream>,
    runtime: SharedRuntime,
    /// The keys with which the gateway proves its identity to the services, if there are any.
    signatures: Option<Arc<dyn Signatures>>,
}

impl Proxy {
    /// Creates a proxy to these services.
    #[must_use]
    pub fn new(upstreams: Vec<Upstream>, runtime: SharedRuntime) -> Self {
        let named = upstreams.into_iter().map(|it| (it.name().to_owned(), it));
        Self {
            connections: Connections::new(CONNECT_WITHIN, TlsFiles::default()),
            upstreams: named.collect(),
            runtime,
            signatures: None,
        }
    }

    /// Proves the identity of the gateway to the services in each request.
    #[must_use]
    pub fn with_signatures(self, signatures: Option<Arc<dyn Signatures>>) -> Self {
        Self { signatures, ..self }
    }

    /// Sets the authorities and the client certificate for upstreams with `https` URLs.
    #[must_use]
    pub fn with_tls(self, tls: TlsFiles) -> Self {
        let connections = Connections::new(CONNECT_WITHIN, tls);
        Self {
            connections,
            ..self
        }
    }

    /// Returns whether the proxy knows the service.
    #[must_use]
    pub fn has(&self, service: &str) -> bool {
        self.upstreams.contains_key(service)
    }

    /// Forwards a request to a service and returns its reply.
    pub async fn forward(&self, service: &str, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let body = match read_body(body).await {
            Ok(body) => body,
            Err(problem) => return problem.into_response(),
        };
        match self.reply(service, &parts, body).await {
            Ok(response) => response,
            Err(problem) => problem.into_response(),
        }
    }

    async fn reply(&self, service: &str, parts: &Parts, body: Bytes) -> Result<Response, Problem> {
        let upstream = self.upstreams.get(service).ok_or_else(Problem::not_found)?;
        let permit = upstream.permit().ok_or_else(|| {
            Problem::new(
                503,
                "overloaded",
                format!("too many requests are waiting for {service}"),
            )
        })?;
        let in_flight = upstream.admit(self.runtime.now());
        let in_flight = in_flight.ok_or_else(|| unavailable(service))?;
        let began = self.runtime.elapsed();
        let reply = self.attempts(upstream, parts, &body).await;
        let took = self.runtime.elapsed().saturating_sub(began);
        drop(permit); // The reply has begun. A long stream must not hold the permit.
        let request = parts.uri.path();
        in_flight.ended(reply.is_some(), took, request, self.runtime.now());
        reply.ok_or_else(|| unavailable(service))
    }

    /// Tries each replica in turn until one replies. A request that a replica may have handled is
    /// repeated only if it is idempotent: it then waits for a silent replica only for a part of its
    /// time, as long as another replica is ready.
    async fn attempts(&self, upstream: &Upstream, parts: &Parts, body: &Bytes) -> Option<Response> {
        let repeatable =
            parts.method.is_idempotent() || parts.headers.contains_key("idempotency-key");
        let end = self.runtime.elapsed() + upstream.time_for(repeatable);
        let mut pauses = PAUSES.iter();
        loop {
            let now = self.runtime.now();
            let mut turn = upstream.in_turn(now).peekable();
            while let Some(replica) = turn.next() {
                let left = end.saturating_sub(self.runtime.elapsed());
                if left.is_zero() {
                    return None;
                }
                let within = match turn.peek() {
                    Some(next) if repeatable && next.is_ready(now) => {
                        left.min(upstream.try_within())
                    }
                    _ => left,
                };
                let reply = self.once(upstream, replica, parts, body.clone(), within);
                match reply.await {
                    Some(Ok(reply)) => return Some(returned(reply)),
                    None if repeatable => {}
                    None => return None,
                    Some(Err(why)) if repeatable || !why.sent => {
                        tracing::debug!(
                            upstream = upstream.name(),
                            replica = replica.url(),
                            "no reply: {why}"
                        );
                    }
                    Some(Err(why)) => {
                        unanswered(upstream, replica, &why, self.runtime.elapsed());
                        return None;
                    }
                }
            }
            self.runtime.sleep(*pauses.next()?).await;
        }
    }

    /// Sends the request to one replica; `None` if it does not answer within this time or its URL
    /// is invalid.
    async fn once(
        &self,
        upstream: &Upstream,
        replica: &Replica,
        parts: &Parts,
        body: Bytes,
        within: Duration,
    ) -> Option<Result<axum::http::Response<Incoming>, Unanswered>> {
        let mut request = forwarded(replica.url(), parts, body)?;
        self.prove(upstream.name(), &mut request);
        let span = self.span(upstream.name(), parts, &mut request);
        replica.tried(self.runtime.now());
        let sent = self.connections.send(request);
        let reply = self.runtime.timeout(within, sent).await;
        match &reply {
            Some(Ok(reply)) => {
                replica.answered();
                telemetry::record_status(&span, reply.status().as_u16());
                // A caller can provoke a refusal that closes the connection: a request head that is
                // too large only with the headers of the gateway, for example.
                if is_last(reply.headers()) && !reply.status().is_client_error() {
                    replica.drains(self.runtime.now());
                }
            }
            Some(Err(_)) => telemetry::failed_on(&span, "no_answer"),
            None => {
                telemetry::failed_on(&span, "no_answer");
                // The rest of a request's time may be too short for any replica.
                if within >= upstream.try_within() {
                    replica.falls_silent(self.runtime.now());
                    let elapsed = self.runtime.elapsed();
                    unanswered(
                        upstream,
                        replica,
                        &format!("silent for {within:?}"),
                        elapsed,
                    );
                }
            }
        }
        reply
    }

    /// Adds the proof of the gateway's identity.
    fn prove(&self, receiver: &str, request: &mut Request<Bytes>) {
        let Some(signatures) = &self.signatures else {
            return;
        };
        let uri = request.uri();
        let text = RequestText {
            receiver,
            method: request.method().as_str(),
            path: uri.path_and_query().map_or("/", |path| path.as_str()),
        };
        let proof = text.prove(&**signatures, Name::new(SERVICE), self.runtime.now());
        if let Some(Ok(proof)) = proof.map(HeaderValue::try_from) {
            request.headers_mut().insert(CALLER_HEADER, proof);
        }
    }

    /// Starts the span of a request, and adds it to the headers of the request.
    fn span(&self, upstream: &str, parts: &Parts, request: &mut Request<Bytes>) -> Span {
        let Some(context) = telemetry::current() else {
            return Span::none();
        };
        let trace = context.trace.child(self.runtime.random());
        if let Ok(value) = HeaderValue::from_str(&trace.to_string()) {
            request.headers_mut().insert("traceparent", value);
        }
        telemetry::asking(SERVICE, upstream, parts, trace, context.trace)
    }
}

impl Processes for Proxy {
    fn services(&self) -> Vec<&str> {
        self.upstreams.keys().map(String::as_str).collect()
    }

    fn ask<'a>(
        &'a self,
        service: &'a str,
        request: &'a Asked,
    ) -> BoxFuture<'a, Result<Answer, Problem>> {
        Box::pin(async move {
            let parts = on_behalf(request)?;
            let response = self.reply(service, &parts, Bytes::new()).await?;
            read(response).await.ok_or_else(|| unavailable(service))
        })
    }

    fn ask_replicas<'a>(
        &'a self,
        service: &'a str,
        request: &'a Asked,
    ) -> BoxFuture<'a, Result<Vec<Option<Answer>>, Problem>> {
        Box::pin(async move {
            let upstream = self.upstreams.get(service).ok_or_else(Problem::not_found)?;
            let parts = on_behalf(request)?;
            let ask = async |replica| {
                let within = upstream.time_for(false);
                let reply = self.once(upstream, replica, &parts, Bytes::new(), within);
                read(returned(reply.await?.ok()?)).await
            };
            Ok(join_all(upstream.in_turn(self.runtime.now()).map(ask)).await)
        })
    }
}

/// Logs that a replica has not answered a request.
fn unanswered(upstream: &Upstream, replica: &Replica, why: &dyn Display, elapsed: Duration) {
    if let Some(suppressed) = upstream.silence.admit(elapsed) {
        tracing::warn!(
            upstream = upstream.name(),
            replica = replica.url(),
            suppressed,
            "no reply: {why}"
        );
    }
}

fn unavailable(service: &str) -> Problem {
    Problem::new(
        503,
        "service_unavailable",
        format!("{service} is unavailable; try again later"),
    )
}

/// Builds a request of the gateway itself, with the credentials of the caller.
fn on_behalf(asked: &Asked) -> Result<Parts, Problem> {
    let request = Request::builder().method(&asked.method).uri(&asked.path);
    let request = request.body(());
    let caller = &asked.headers;
    let (mut parts, ()) = request.map_err(|_| Problem::not_found())?.into_parts();
    for name in [
        header::AUTHORIZATION,
        header::COOKIE,
        header::HOST,
        header::ORIGIN,
    ] {
        for value in caller.get_all(&name) {
            parts.headers.append(&name, value.clone());
        }
    }
    if let Some(value) = caller.get("sec-fetch-site") {
        parts.headers.insert("sec-fetch-site", value.clone());
    }
    Ok(parts)
}

/// Reads the complete reply; `None` if it breaks off or is too large.
async fn read(reply: Response) -> Option<Answer> {
    let status = reply.status();
    let body = axum::body::to_bytes(reply.into_body(), REPLY_MAX).await;
    Some((status, body.ok()?))
}

/// Builds the request to a replica; `None` if the URL of the replica is invalid.
fn forwarded(replica: &str, parts: &Parts, body: Bytes) -> Option<Request<Bytes>> {
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let uri: Uri = format!("{replica}{path}").parse().ok()?;
    let mut request = Request::builder()
        .method(&parts.method)
        .uri(uri)
        .body(body)
        .ok()?;
    let headers = request.headers_mut();
    headers.clone_from(&parts.headers);
    strip(headers);
    headers.remove(header::CONTENT_LENGTH); // The client sets it from the body.
    headers.remove(header::EXPECT);
    let spoofed: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_gateway_only(name))
        .cloned()
        .collect();
    for name in spoofed {
        headers.remove(name);
    }
    if let Some(ConnectInfo(peer)) = parts.extensions.get::<ConnectInfo<SocketAddr>>()
        && let Ok(value) = HeaderValue::from_str(&peer.ip().to_string())
    {
        headers.insert("x-forwarded-for", value);
    }
    Some(request)
}

fn is_gateway_only(name: &HeaderName) -> bool {
    GATEWAY_ONLY
        .iter()
        .any(|prefix| name.as_str().starts_with(prefix))
}

/// Builds the reply to the caller from the reply of a replica.
fn returned(reply: axum::http::Response<Incoming>) -> Response {
    let (mut parts, body) = reply.into_parts();
    strip(&mut parts.headers);
    Response::from_parts(parts, Body::new(body))
}

/// Returns whether the replica closes the connection after this reply.
fn is_last(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::CONNECTION).iter();
    let mut words = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    words.any(|word| word.trim().eq_ignore_ascii_case("close"))
}

/// Removes the headers that belong to one connection, including those that the header `Connection`
/// names.
fn strip(headers: &mut HeaderMap) {
    let lines = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|line| line.to_str().ok());
    let named = lines.flat_map(|line| line.split(','));
    let named: Vec<HeaderName> = named.filter_map(|name| name.trim().parse().ok()).collect();
    for name in HOP_BY_HOP.into_iter().chain(named) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hop_by_hop_and_spoofed_headers_are_not_forwarded() {
        let request = Request::builder()
            .uri("/api/v1/me?x=1")
            .header("connection", "close, x-hop")
            .header("x-hop", "1")
            .header("upgrade", "h2c")
            .header("x-forwarded-for", "10.0.0.1")
            .header("x-forwarded-host", "evil")
            .header("x-wingbeat-user", "admin")
            .header("wingbeat-caller", "v1,gateway,0,00")
            .header("authorization", "Bearer t")
            .extension(ConnectInfo(SocketAddr::from(([192, 0, 2, 7], 9))))
            .body(())
            .unwrap();
        let (parts, ()) = request.into_parts();
        let request = forwarded("http://a:1", &parts, Bytes::new()).unwrap();
        assert_eq!(request.uri(), "http://a:1/api/v1/me?x=1");
        let names: Vec<&str> = request.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        assert_eq!(request.headers()["x-forwarded-for"], "192.0.2.7");
        assert_eq!(request.headers()["authorization"], "Bearer t");
    }
}
