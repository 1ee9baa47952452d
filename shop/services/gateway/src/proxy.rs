//! The reverse proxy: requests to the services' replicas, and their answers back, streams too.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request};
use axum::http::request::Parts;
use axum::http::uri::Uri;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::future::join_all;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tracing::Span;
use wingbeat::RuntimeExt as _;
use wingbeat::SharedRuntime;
use wingbeat::http::{BODY_MAX, Problem};
use wingbeat::telemetry;

use crate::edge::SERVICE;
use crate::upstream::{Replica, Upstream};

/// Longest wait for a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// Connections that nobody used for so long are closed, before the service closes them.
const IDLE: Duration = Duration::from_secs(20);
/// The pauses before all replicas are tried again: one that restarts is back within them.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(50),
    Duration::from_millis(200),
    Duration::from_millis(600),
];
/// The largest answer that the gateway itself reads.
const ANSWER_MAX: usize = 8 << 20;

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
/// What only the gateway may say about a caller.
const OURS_TO_SAY: [&str; 4] = ["forwarded", "x-forwarded-", "x-real-ip", "x-wingbeat-"];

/// Asks the services.
pub struct Proxy {
    client: Client<HttpConnector, Full<Bytes>>,
    upstreams: BTreeMap<String, Upstream>,
    runtime: SharedRuntime,
}

impl Proxy {
    /// A proxy to these services.
    #[must_use]
    pub fn new(upstreams: Vec<Upstream>, runtime: SharedRuntime) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_WITHIN));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        let named = upstreams.into_iter().map(|it| (it.name().to_owned(), it));
        Self {
            client,
            upstreams: named.collect(),
            runtime,
        }
    }

    /// The services there are.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        self.upstreams.keys().map(String::as_str)
    }

    /// Whether the service is behind this proxy.
    #[must_use]
    pub fn has(&self, service: &str) -> bool {
        self.upstreams.contains_key(service)
    }

    /// Hands a request on, and the answer back.
    pub async fn forward(&self, service: &str, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let Ok(body) = axum::body::to_bytes(body, BODY_MAX).await else {
            let detail = "the body is larger than 64 KiB";
            return Problem::new(413, "body_too_large", detail).into_response();
        };
        match self.ask(service, &parts, body).await {
            Ok(response) => response,
            Err(problem) => problem.into_response(),
        }
    }

    /// Asks for something on behalf of a caller: the status, and the body.
    ///
    /// # Errors
    ///
    /// No answer.
    pub async fn get(
        &self,
        service: &str,
        method: Method,
        path: &str,
        caller: &HeaderMap,
    ) -> Result<(StatusCode, Bytes), Problem> {
        let parts = on_behalf(method, path, caller)?;
        let response = self.ask(service, &parts, Bytes::new()).await?;
        read(response).await.ok_or_else(|| away(service))
    }

    /// Asks every replica of a service, each once, on behalf of a caller: for what each process has for itself. `None`
    /// of who does not answer.
    ///
    /// # Errors
    ///
    /// There is no such service.
    pub async fn everywhere(
        &self,
        service: &str,
        method: Method,
        path: &str,
        caller: &HeaderMap,
    ) -> Result<Vec<Option<(StatusCode, Bytes)>>, Problem> {
        let upstream = self.upstreams.get(service).ok_or_else(Problem::not_found)?;
        let parts = on_behalf(method, path, caller)?;
        let ask = async |replica| {
            let answer = self.once(upstream, replica, &parts, Bytes::new()).await?;
            read(back(answer.ok()?)).await
        };
        Ok(join_all(upstream.in_turn(self.runtime.now()).map(ask)).await)
    }

    async fn ask(&self, service: &str, parts: &Parts, body: Bytes) -> Result<Response, Problem> {
        let upstream = self.upstreams.get(service).ok_or_else(Problem::not_found)?;
        let place = upstream.place().ok_or_else(|| {
            Problem::new(
                503,
                "overloaded",
                format!("too many requests wait for {service}"),
            )
        })?;
        let asking = upstream.admits(self.runtime.now());
        let asking = asking.ok_or_else(|| away(service))?;
        let began = self.runtime.elapsed();
        let answer = self.attempts(upstream, parts, &body).await;
        let took = self.runtime.elapsed().saturating_sub(began);
        drop(place); // The answer has begun; how long it streams is the caller's affair.
        let request = parts.uri.path();
        asking.ended(answer.is_some(), took, request, self.runtime.now());
        answer.ok_or_else(|| away(service))
    }

    /// Asks each replica in turn while none was reached. What may have been done is asked for again only if
    /// that changes nothing.
    async fn attempts(&self, upstream: &Upstream, parts: &Parts, body: &Bytes) -> Option<Response> {
        let repeatable =
            parts.method.is_idempotent() || parts.headers.contains_key("idempotency-key");
        let mut pauses = PAUSES.iter();
        loop {
            for replica in upstream.in_turn(self.runtime.now()) {
                match self.once(upstream, replica, parts, body.clone()).await? {
                    Ok(answer) => return Some(back(answer)),
                    Err(why) if repeatable || was_not_sent(&why) => {
                        tracing::debug!(
                            upstream = upstream.name(),
                            replica = replica.url(),
                            "no answer: {why}"
                        );
                    }
                    Err(why) => {
                        tracing::warn!(
                            upstream = upstream.name(),
                            replica = replica.url(),
                            "no answer: {why}"
                        );
                        return None;
                    }
                }
            }
            self.runtime.sleep(*pauses.next()?).await;
        }
    }

    /// Asks one replica; `None` when it takes too long, or cannot be asked.
    async fn once(
        &self,
        upstream: &Upstream,
        replica: &Replica,
        parts: &Parts,
        body: Bytes,
    ) -> Option<Result<axum::http::Response<Incoming>, ClientError>> {
        let mut request = onward(replica.url(), parts, body)?;
        let span = self.within_trace(upstream.name(), parts, &mut request);
        let asked = self.client.request(request);
        let limit = upstream.answer_within();
        let answer = self.runtime.timeout(limit, asked).await;
        match &answer {
            Some(Ok(answer)) => {
                telemetry::answered(&span, answer.status().as_u16());
                if says_goodbye(answer.headers()) {
                    replica.leaves(self.runtime.now());
                }
            }
            _ => telemetry::failed_on(&span, "no_answer"),
        }
        answer
    }

    /// The span of asking, told to whoever is asked.
    fn within_trace(
        &self,
        upstream: &str,
        parts: &Parts,
        request: &mut Request<Full<Bytes>>,
    ) -> Span {
        let Some(context) = telemetry::current() else {
            return Span::none();
        };
        let trace = context.trace.child(self.runtime.random());
        if let Ok(told) = HeaderValue::from_str(&trace.to_string()) {
            request.headers_mut().insert("traceparent", told);
        }
        telemetry::asking(SERVICE, upstream, parts, trace, context.trace)
    }
}

fn away(service: &str) -> Problem {
    Problem::new(
        503,
        "service_away",
        format!("{service} does not answer now"),
    )
}

fn was_not_sent(error: &ClientError) -> bool {
    error.is_connect()
}

/// What the gateway asks for by itself, with what the caller proves who they are by.
fn on_behalf(method: Method, path: &str, caller: &HeaderMap) -> Result<Parts, Problem> {
    let request = Request::builder().method(method).uri(path).body(());
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

/// The whole answer; `None` when it breaks off.
async fn read(answer: Response) -> Option<(StatusCode, Bytes)> {
    let status = answer.status();
    let body = axum::body::to_bytes(answer.into_body(), ANSWER_MAX).await;
    Some((status, body.ok()?))
}

/// The request as the replica gets it; `None` if its URL is none.
fn onward(replica: &str, parts: &Parts, body: Bytes) -> Option<Request<Full<Bytes>>> {
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let uri: Uri = format!("{replica}{path}").parse().ok()?;
    let mut request = Request::builder()
        .method(&parts.method)
        .uri(uri)
        .body(Full::new(body))
        .ok()?;
    let headers = request.headers_mut();
    headers.clone_from(&parts.headers);
    strip(headers);
    headers.remove(header::CONTENT_LENGTH); // Set anew from the body.
    headers.remove(header::EXPECT);
    let spoofed: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_ours_to_say(name))
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

fn is_ours_to_say(name: &HeaderName) -> bool {
    OURS_TO_SAY
        .iter()
        .any(|prefix| name.as_str().starts_with(prefix))
}

fn back(answer: axum::http::Response<Incoming>) -> Response {
    let (mut parts, body) = answer.into_parts();
    strip(&mut parts.headers);
    Response::from_parts(parts, Body::new(body))
}

/// Whether this was the last answer of its connection.
fn says_goodbye(headers: &HeaderMap) -> bool {
    let told = headers.get_all(header::CONNECTION).iter();
    let mut words = told
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    words.any(|word| word.trim().eq_ignore_ascii_case("close"))
}

/// Removes what belongs to one connection, also what the `Connection` header names.
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
    fn what_belongs_to_a_connection_or_is_spoofed_goes_no_further() {
        let request = Request::builder()
            .uri("/api/v1/me?x=1")
            .header("connection", "close, x-hop")
            .header("x-hop", "1")
            .header("upgrade", "h2c")
            .header("x-forwarded-for", "10.0.0.1")
            .header("x-forwarded-host", "evil")
            .header("x-wingbeat-user", "admin")
            .header("authorization", "Bearer t")
            .extension(ConnectInfo(SocketAddr::from(([192, 0, 2, 7], 9))))
            .body(())
            .unwrap();
        let (parts, ()) = request.into_parts();
        let onward = onward("http://a:1", &parts, Bytes::new()).unwrap();
        assert_eq!(onward.uri(), "http://a:1/api/v1/me?x=1");
        let names: Vec<&str> = onward.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(names.len(), 2, "{names:?}");
        assert_eq!(onward.headers()["x-forwarded-for"], "192.0.2.7");
        assert_eq!(onward.headers()["authorization"], "Bearer t");
    }
}
