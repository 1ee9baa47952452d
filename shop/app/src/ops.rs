//! Health, readiness and metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use wingbeat::http::Problem;

use crate::{Host, admin};

/// Whether the shop is open: after migrations, seeding and subscriptions, until it drains.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Opens or closes.
    pub fn set(&self, open: bool) {
        self.0.store(open, Ordering::Release);
    }
}

/// `/healthz` and `/readyz`, on the public port.
pub fn health(readiness: Readiness) -> Router {
    Router::new()
        .route(
            "/healthz",
            get(|| async { Json(serde_json::json!({"status": "ok"})) }),
        )
        .route("/readyz", get(ready))
        .with_state(readiness)
}

async fn ready(State(Readiness(open)): State<Readiness>) -> Response {
    if open.load(Ordering::Acquire) {
        return Json(serde_json::json!({"status": "ready"})).into_response();
    }
    Problem::new(503, "not_ready", "starting, or stopping").into_response()
}

/// Buckets of times, in seconds: from a fast commit to a provider that hangs.
const SECONDS: [f64; 12] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];
/// Buckets of batch sizes.
const UNITS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// Starts recording metrics; `None` when this process records them already.
#[must_use]
pub fn record() -> Option<PrometheusHandle> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)
        .and_then(|builder| {
            builder.set_buckets_for_metric(Matcher::Suffix("_units".into()), &UNITS)
        })
        .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_size".into()), &UNITS))
        .and_then(PrometheusBuilder::install_recorder)
        .ok()
}

#[derive(Clone)]
struct Metrics {
    host: Arc<Host>,
    handle: PrometheusHandle,
}

/// `/metrics`, on the ops port.
pub fn metrics(host: Arc<Host>, handle: PrometheusHandle) -> Router {
    Router::new()
        .route("/metrics", get(render))
        .with_state(Metrics { host, handle })
}

async fn render(State(Metrics { host, handle }): State<Metrics>) -> Result<Response, Problem> {
    for one in admin::look(&host.sight()).await? {
        let labels = [
            ("service", one.service.as_str().to_owned()),
            ("subscription", one.name.to_owned()),
        ];
        metrics::gauge!("wingbeat_messaging_waiting", &labels).set(one.waiting as f64);
        metrics::gauge!("wingbeat_messaging_in_flight", &labels).set(one.in_flight as f64);
        let count = |count: i64| u64::try_from(count).unwrap_or_default();
        metrics::counter!("wingbeat_messaging_handled_total", &labels).absolute(count(one.handled));
        metrics::counter!("wingbeat_messaging_retried_total", &labels).absolute(one.retried);
        metrics::gauge!("wingbeat_messaging_dead_letters", &labels).set(one.dead as f64);
    }
    for running in host.running() {
        for target in &running.targets {
            let labels = [
                ("service", target.service.as_str().to_owned()),
                ("target", target.name.to_owned()),
            ];
            let open = match target.state().0.as_str() {
                "closed" => 0.0,
                "half_open" => 0.5,
                _ => 1.0,
            };
            metrics::gauge!("wingbeat_breaker_open", &labels).set(open);
        }
    }
    handle.run_upkeep();
    let kind = [("content-type", "text/plain; version=0.0.4; charset=utf-8")];
    Ok((kind, handle.render()).into_response())
}
