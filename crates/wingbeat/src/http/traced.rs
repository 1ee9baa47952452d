//! Requests as spans of traces (W3C Trace Context).

use axum::Router;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::middleware::{self, Next};
use axum::response::Response;
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{Propagation, TraceParent};

use crate::telemetry::{self, Context};

#[derive(Clone)]
struct Tracing {
    service: &'static str,
    runtime: SharedRuntime,
}

/// Adds a span in the caller's trace, or in a new one, to each request. A request that another
/// request causes within this process has no span of its own.
pub fn traced(routes: Router, service: &'static str, runtime: SharedRuntime) -> Router {
    let tracing = Tracing { service, runtime };
    routes.layer(middleware::from_fn_with_state(tracing, trace))
}

/// The span of a request, with its response: for layers around this one.
#[derive(Clone, Copy)]
pub(super) struct Traced(pub(super) TraceParent);

async fn trace(
    State(Tracing { service, runtime }): State<Tracing>,
    request: Request,
    next: Next,
) -> Response {
    if telemetry::current().is_some() {
        return next.run(request).await;
    }
    let parent = parent(request.headers());
    let trace = match parent {
        Some(parent) => parent.child(runtime.random()),
        None => TraceParent::new(runtime.random(), runtime.random(), runtime.random()),
    };
    let (parts, body) = request.into_parts();
    let span = telemetry::requested(service, &parts, trace, parent);
    let request_span = span.clone();
    let answer = Box::pin(next.run(Request::from_parts(parts, body)));
    let mut response = Context::at(trace).run(span, answer).await;
    telemetry::record_status(&request_span, response.status().as_u16());
    response.extensions_mut().insert(Traced(trace));
    response
}

/// Returns the caller's place in a trace; `None` if the header is missing, malformed or repeated.
fn parent(headers: &HeaderMap) -> Option<TraceParent> {
    let mut values = headers.get_all("traceparent").iter();
    let parent = values.next()?.to_str().ok()?.parse().ok()?;
    values.next().is_none().then_some(parent)
}

/// Returns `tracestate` and `baggage` of a request. A `tracestate` without a trace is dropped.
pub(super) fn propagation(headers: &HeaderMap) -> Propagation {
    let joined = |name: &str| {
        let values = headers.get_all(name).iter();
        let values: Option<Vec<&str>> = values.map(|value| value.to_str().ok()).collect();
        values.unwrap_or_default().join(",")
    };
    let tracestate = parent(headers).map(|_| joined("tracestate"));
    Propagation::new(tracestate.as_deref(), Some(&joined("baggage")))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::routing::get;
    use futures_util::FutureExt as _;
    use tower::ServiceExt as _;

    use super::*;
    use crate::http::Problem;
    use crate::runtime::TokioRuntime;

    const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn asked(routes: &Router, path: &str, parents: &[&str]) -> String {
        let mut request = Request::get(path);
        for parent in parents {
            request = request.header("traceparent", *parent);
        }
        let request = request.body(axum::body::Body::empty()).expect("a request");
        let answer = async {
            let Ok(response) = routes.clone().oneshot(request).await;
            let body = axum::body::to_bytes(response.into_body(), 1 << 16).await;
            String::from_utf8_lossy(&body.expect("a body")).into_owned()
        };
        answer.now_or_never().expect("the routes answer at once")
    }

    fn routes() -> Router {
        let runtime = TokioRuntime::new();
        let own = || async {
            telemetry::current()
                .map(|it| it.trace.to_string())
                .unwrap_or_default()
        };
        let inner = traced(
            Router::new().route("/own", get(own)),
            "inner",
            Arc::clone(&runtime) as _,
        );
        let outer = Router::new()
            .route("/own", get(own))
            .route("/nothing", get(|| async { Problem::not_found() }))
            .route(
                "/within",
                get(move || async move {
                    let before = own().await;
                    assert_eq!(
                        asked(&inner, "/own", &[]),
                        before,
                        "the inner request has no span"
                    );
                    before
                }),
            );
        traced(outer, "outer", runtime)
    }

    #[test]
    fn a_request_has_a_span_in_the_callers_trace_and_inner_requests_have_none() {
        let routes = routes();
        for path in ["/own", "/within"] {
            let received = asked(&routes, path, &[CALLER]);
            let received: TraceParent = received.parse().expect("a traceparent");
            let caller: TraceParent = CALLER.parse().expect("a traceparent");
            assert_eq!(received.trace_id(), caller.trace_id());
            assert_ne!(received.span_id(), caller.span_id());
        }
        assert_eq!(telemetry::current(), None);
    }

    #[test]
    fn a_missing_malformed_or_repeated_traceparent_starts_a_trace() {
        let routes = routes();
        let wrong: [&[&str]; 3] = [&[], &["nonsense"], &[CALLER, CALLER]];
        for parents in wrong {
            let received = asked(&routes, "/own", parents);
            assert!(received.parse::<TraceParent>().is_ok(), "{received}");
            assert!(!received.contains(&CALLER[3..35]), "{received}");
        }
    }

    #[test]
    fn a_problem_names_its_trace() {
        let received = asked(&routes(), "/nothing", &[CALLER]);
        let trace = format!(r#""trace_id":"{}""#, &CALLER[3..35]);
        assert!(received.contains(&trace), "{received}");
    }
}
