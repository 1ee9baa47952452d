//! Requests by method, route and status, and how long their answers took to begin.

use std::sync::{Arc, OnceLock};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Extensions, Method};
use axum::middleware::Next;
use axum::response::Response;
use wingbeat_core::runtime::SharedRuntime;

/// The route of a request, once a router has found it. Paths themselves are no labels: they hold
/// ids.
#[derive(Clone, Default)]
struct Route(Arc<OnceLock<String>>);

/// The route of requests that no router knew.
const NONE: &str = "none";

/// Measures every request: a layer around all others.
pub async fn measure(
    State(runtime): State<SharedRuntime>,
    mut request: Request,
    next: Next,
) -> Response {
    if request.extensions().get::<Route>().is_some() {
        return next.run(request).await; // It is measured further out.
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
    metrics::histogram!("wingbeat_http_server_request_duration_seconds", &labels)
        .record(took.as_secs_f64());
    response
}

/// Tells the measuring layer which route it is: a layer of routers that know.
pub async fn routed(request: Request, next: Next) -> Response {
    if let Some(path) = request.extensions().get::<MatchedPath>() {
        route_is(request.extensions(), path.as_str());
    }
    next.run(request).await
}

/// Says by what name the request is measured, where no router matched it. The first to say it
/// counts.
pub fn route_is(request: &Extensions, name: &str) {
    if let Some(Route(route)) = request.get() {
        let _ = route.set(name.to_owned());
    }
}

/// A method as a label: what strangers make up is one value.
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
    fn a_made_up_method_is_no_label() {
        assert_eq!(method(&Method::DELETE), "DELETE");
        assert_eq!(method(&Method::from_bytes(b"X-42").unwrap()), "other");
    }

    #[test]
    fn the_innermost_router_does_not_rename_a_request() {
        let (mut request, route) = (Extensions::new(), Route::default());
        request.insert(route.clone());
        route_is(&request, "orders");
        route_is(&request, "/later");
        assert_eq!(route.0.get().map(String::as_str), Some("orders"));
    }
}
