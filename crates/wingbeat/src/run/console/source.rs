//! The source of a console's data: the operator's API, asked as the visitor.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::request::Parts;
use axum::http::{HeaderName, Method, Request, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tower::ServiceExt as _;

use crate::run::ops::Operator;
use crate::{BoxFuture, RuntimeExt as _, SharedRuntime};

/// The timeout of one request. A page reports what is missing instead of waiting longer.
const WITHIN: Duration = Duration::from_secs(8);
/// The largest reply in bytes. A page of a hundred dead letters is much smaller.
const BODY_MAX: usize = 8 << 20;
/// The headers that a request takes over from the visitor's: identity, origin and trace.
const FORWARDED: [HeaderName; 8] = [
    header::AUTHORIZATION,
    header::COOKIE,
    header::HOST,
    header::ORIGIN,
    HeaderName::from_static("sec-fetch-site"),
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("forwarded"),
];

/// A refusal of the operator's API, or no reply.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Refused {
    /// The status.
    pub status: StatusCode,
    /// The code of the problem; empty if the reply has none.
    pub code: String,
    /// The text of the problem, for people.
    pub detail: String,
}

impl Refused {
    /// Creates a refusal.
    #[must_use]
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code: code.into(),
            detail: detail.into(),
        }
    }

    fn unavailable(detail: &str) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
    }

    /// Reads the problem of a reply.
    fn of(status: StatusCode, body: &[u8]) -> Self {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Told {
            code: String,
            detail: String,
        }
        let told: Told = serde_json::from_slice(body).unwrap_or_default();
        Self::new(status, &told.code, told.detail)
    }
}

/// The source of a console's data.
///
/// A console decides nothing about access: it passes the visitor on, and shows what the source
/// answers. So it never shows or does more than the operator's API would for the same visitor.
pub trait Source: Send + Sync + 'static {
    /// Sends a request without a body to the operator's API as this visitor, and returns the JSON
    /// of the reply. The path is relative to the API: `/subscriptions`.
    ///
    /// # Errors
    ///
    /// The refusal of the API; 503 if there is no reply.
    fn ask<'a>(
        &'a self,
        method: Method,
        path: &'a str,
        visitor: &'a Parts,
    ) -> BoxFuture<'a, Result<Bytes, Refused>>;

    /// Returns whether the process that serves the console is ready.
    ///
    /// # Errors
    ///
    /// The reason why it is not.
    fn ready<'a>(&'a self, visitor: &'a Parts) -> BoxFuture<'a, Result<(), Refused>>;
}

/// Reads a path of the operator's API.
pub(super) async fn read<T: DeserializeOwned>(
    source: &dyn Source,
    path: &str,
    visitor: &Parts,
) -> Result<T, Refused> {
    let body = source.ask(Method::GET, path, visitor).await?;
    parsed(&body)
}

/// Parses a reply.
pub(super) fn parsed<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refused> {
    let unknown = |_| Refused::unavailable("the reply has an unknown form");
    serde_json::from_slice(body).map_err(unknown)
}

/// A source over a router that serves the operator's API and `/readyz`, called without a socket.
///
/// The router sees the visitor's cookies, bearer token, origin and address, so its own guards
/// apply. It may forward or combine requests, as the gateway of a system of several processes does.
pub struct Routed {
    router: Router,
    prefix: &'static str,
    runtime: SharedRuntime,
}

impl Routed {
    /// Creates a source over a router with the operator's API under `prefix`.
    #[must_use]
    pub fn new(router: Router, prefix: &'static str, runtime: SharedRuntime) -> Self {
        Self {
            router,
            prefix,
            runtime,
        }
    }

    async fn send(&self, method: Method, path: &str, visitor: &Parts) -> Result<Bytes, Refused> {
        let request = request(method, path, visitor).ok_or_else(|| {
            Refused::new(StatusCode::NOT_FOUND, "not_found", "there is no such path")
        })?;
        let answered = self.runtime.timeout(WITHIN, self.answer(request)).await;
        answered.unwrap_or_else(|| Err(Refused::unavailable("there was no reply in time")))
    }

    async fn answer(&self, request: Request<Body>) -> Result<Bytes, Refused> {
        let Ok(response) = self.router.clone().oneshot(request).await;
        let status = response.status();
        let body = Limited::new(response.into_body(), BODY_MAX).collect().await;
        let body = body.map_err(|_| Refused::unavailable("the reply broke off"))?;
        let body = body.to_bytes();
        if status.is_success() {
            Ok(body)
        } else {
            Err(Refused::of(status, &body))
        }
    }
}

impl Source for Routed {
    fn ask<'a>(
        &'a self,
        method: Method,
        path: &'a str,
        visitor: &'a Parts,
    ) -> BoxFuture<'a, Result<Bytes, Refused>> {
        Box::pin(async move {
            let path = format!("{}{path}", self.prefix);
            self.send(method, &path, visitor).await
        })
    }

    fn ready<'a>(&'a self, visitor: &'a Parts) -> BoxFuture<'a, Result<(), Refused>> {
        Box::pin(async move { self.send(Method::GET, "/readyz", visitor).await.map(drop) })
    }
}

/// Builds a request with the visitor's identity; `None` if the path is not a valid URI.
fn request(method: Method, path: &str, visitor: &Parts) -> Option<Request<Body>> {
    let request = Request::builder().method(method).uri(path);
    let mut request = request.body(Body::empty()).ok()?;
    for name in FORWARDED {
        for value in visitor.headers.get_all(&name) {
            request.headers_mut().append(&name, value.clone());
        }
    }
    if let Some(peer) = visitor.extensions.get::<ConnectInfo<SocketAddr>>() {
        request.extensions_mut().insert(*peer);
    }
    if let Some(operator) = visitor.extensions.get::<Operator>() {
        request.extensions_mut().insert(operator.clone());
    }
    Some(request)
}
