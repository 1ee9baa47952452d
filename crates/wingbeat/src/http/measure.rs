//! Measures requests by method, route and status: the time until their response begins.

use std::sync::{Arc, OnceLock};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Extensions, Method};
use axum::middleware::Next;
use axum::response::Response;
use wingbeat_core::runtime::SharedRuntime;

use super::traced::Traced;
use crate::telemetry::Context;

/// The route of a request, set by the router that matches it. Paths are no labels, because they
/// contain ids.
#[derive(Clone, Default)]
struct Route(Arc<OnceLock<String>>);

/// The route of requests that no router matched.
const NONE: &str = "none";

/// A middleware that measures every request. It must be the outermost layer.
pub async fn measure(
    State(runtime): State<SharedRuntime>,
    mut request: Request,
    next: Next,
) -> Response {
    if request.extensions().get::<Route>().is_some() {
        return next.run(request).await; // An outer layer measures it.
    }
    let (began, method) = (runtime.elapsed(), method(request.method()));
    let route = Route::default();
    request.extensions_mut().insert(route.clone());
    let response = next.run(request).await;
    let route = route.0.get().map_or(NONE, String::as_str).to_owned();
    let labels = [
        ("method", method.to_owned()),
        ("route", route),
        ("status", response.status().as_str().to_owned()),
    ];
    let took = runtime.elapsed().saturating_sub(began);
    let measured = metrics::histogram!("wingbeat_http_server_request_duration_seconds", &labels);
    let record = || measured.record(took.as_secs_f64());
    match response.extensions().get() {
        Some(Traced(trace)) => Context::at(*trace).enter(record),
        None => record(),
    }
    response
}

/// A middleware for matched routes that reports the route to [`measure`].
pub async fn routed(request: Request, next: Next) -> Response {
    if let Some(path) = request.extensions().get::<MatchedPath>() {
        route_is(request.extensions(), path.as_str());
    }
    next.run(request).await
}

/// Sets the route under which a request is measured, unless it is set already. For requests that no
/// router matched.
pub fn route_is(request: &Extensions, name: &str) {
    if let Some(Route(route)) = request.get() {
        let _ = route.set(name.to_owned());
    }
}

/// Returns the label of a method. All unknown methods share one label, because clients can invent
/// any number of them.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_methods_share_one_label() {
        assert_eq!(method(&Method::DELETE), "DELETE");
        assert_eq!(method(&Method::from_bytes(b"X-42").unwrap()), "other");
    }

    #[test]
    fn the_first_route_of_a_request_counts() {
        let (mut request, route) = (Extensions::new(), Route::default());
        request.insert(route.clone());
        route_is(&request, "orders");
        route_is(&request, "/later");
        assert_eq!(route.0.get().map(String::as_str), Some("orders"));
    }
}
