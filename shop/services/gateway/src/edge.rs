//! The middleware of the public port: sessions, security headers, and refusals as problems.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt as _;
use tower::ServiceExt as _;
use wingbeat::RuntimeExt as _;
use wingbeat::SharedRuntime;
use wingbeat::describe::System;
use wingbeat::http::measure::{measure, routed};
use wingbeat::http::session::{SessionState, Sessions, identify};
use wingbeat::http::{BODY_MAX, Problem, problems, traced};

use crate::{console, storefront};

/// The name of the gateway in spans.
pub const SERVICE: &str = shop_registry::GATEWAY;
/// The time within which a reply must begin; otherwise the gateway returns 503. It is shorter than
/// the usual timeout of proxies and browsers, 30 s.
const REPLY_WITHIN: Duration = Duration::from_secs(25);
/// The path whose reply begins only once all data has been read. It has no time limit.
const UNHURRIED: &str = "/api/v1/admin/audit";
/// Prefixes of the paths for programs. Refusals there are problems, not pages.
const PROGRAMS: [&str; 7] = [
    "/api/",
    "/dev/",
    "/healthz",
    "/readyz",
    "/openapi.json",
    "/asyncapi.json",
    "/metrics",
];

/// Serves an API with `/dev`, the storefront and the console on the public port: [`rules`], then
/// [`front`].
pub fn edge(api: Router, system: &System, sessions: Sessions, runtime: SharedRuntime) -> Router {
    front(
        rules(api, SERVICE, sessions, runtime.clone()),
        system,
        true,
        runtime,
    )
}

/// Adds the rules of an API: it identifies the caller, keeps replies to signed-in callers out of
/// caches, and bounds the body. Includes [`answered`].
pub fn rules(
    api: Router,
    service: &'static str,
    sessions: Sessions,
    runtime: SharedRuntime,
) -> Router {
    let api = api
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(middleware::from_fn(private))
        .layer(middleware::from_fn_with_state(sessions, identify));
    answered(api, service, runtime)
}

/// Adds a time limit, turns refusals and panics into problems, and measures and traces the requests
/// to `service`.
pub fn answered(api: Router, service: &'static str, runtime: SharedRuntime) -> Router {
    let api = api
        .layer(middleware::from_fn(problems))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&runtime),
            guarded,
        ))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&runtime),
            measure,
        ));
    traced(api, service, runtime)
}

/// Adds the pages of the storefront and of the console to an API, and the headers for browsers.
/// `system` describes the services; `has_dev` says whether the API serves `/dev`.
pub fn front(api: Router, system: &System, has_dev: bool, runtime: SharedRuntime) -> Router {
    let console = console::routes(api.clone(), system, has_dev, runtime.clone());
    let pages = storefront::routes(api.clone(), has_dev)
        .merge(console)
        .layer(middleware::from_fn(routed))
        .fallback(storefront::not_found);
    Router::new()
        .fallback(move |request: Request| {
            let (api, pages) = (api.clone(), pages.clone());
            async move {
                let path = request.uri().path();
                let program = PROGRAMS.iter().any(|prefix| path.starts_with(prefix));
                let answered: Result<Response, Infallible> = if program {
                    api.oneshot(request).await
                } else {
                    pages.oneshot(request).await
                };
                answered.unwrap_or_else(|never| match never {})
            }
        })
        .layer(middleware::from_fn(secure))
        .layer(middleware::from_fn_with_state(runtime, measure))
}

/// Turns panics and timeouts into problems.
async fn guarded(State(runtime): State<SharedRuntime>, request: Request, next: Next) -> Response {
    let unhurried = request.uri().path() == UNHURRIED;
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind();
    let answered = if unhurried {
        Some(answered.await)
    } else {
        runtime.timeout(REPLY_WITHIN, answered).await
    };
    match answered {
        Some(Ok(response)) => response,
        Some(Err(_)) => {
            tracing::error!("a route panicked");
            Problem::new(500, "internal", "internal error").into_response()
        }
        None => Problem::new(503, "too_slow", "the request timed out").into_response(),
    }
}

/// Keeps replies to signed-in callers out of caches.
async fn private(request: Request, next: Next) -> Response {
    let state = request.extensions().get::<SessionState>();
    let signed_in = matches!(state, Some(SessionState::SignedIn(_)));
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    if signed_in && !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    response
}

/// Adds the security headers to a reply.
async fn secure(request: Request, next: Next) -> Response {
    const RULES: [(HeaderName, &str); 3] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (
            header::CONTENT_SECURITY_POLICY,
            storefront::CONTENT_SECURITY_POLICY,
        ),
    ];
    let mut response = next.run(request).await;
    let headers: &mut HeaderMap = response.headers_mut();
    for (name, value) in RULES {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
