//! The operator's port: metrics, and the operator's API.

pub(crate) mod api;
pub mod catalogue;
mod condition;
mod contracts;
mod guard;
mod incidents;
mod letter;
mod letters;
mod lists;
mod overload;
mod page;
mod rebuilds;
mod replays;
mod sagas;
mod schedules;
mod scrape;
mod timeline;
mod wiring;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::host::Host;
use super::readiness::{Readiness, health};
use super::settings::Secret;
use crate::SharedRuntime;
use crate::http::{Problem, problems};
use page::Page;

pub use api::{look, operator, operator_routes};
pub use guard::Operator;
#[cfg(feature = "console")]
pub(super) use guard::guarded;
pub use incidents::{Action, Incident, Redrive};
pub use letters::{Letter, LetterPage, LetterQuery};
pub use lists::{
    Breaker, Items, Replicated, State as SubscriptionState, Subscription, Unroutable, joined,
};
pub use overload::Resource;
pub use rebuilds::Rebuild;
pub use replays::Replay;
pub use schedules::{Schedule, ScheduleRun};
pub use timeline::{Step, Timeline, in_order, story};

/// Buckets of durations in seconds: from a fast commit to an outside system that does not answer.
const SECONDS: [f64; 12] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];
/// Buckets of batch sizes.
const UNITS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// Starts recording metrics; `None` if this process records them already.
pub(super) fn record() -> Option<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)
        .and_then(|builder| {
            builder.set_buckets_for_metric(Matcher::Suffix("_units".into()), &UNITS)
        })
        .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_size".into()), &UNITS))
        .and_then(PrometheusBuilder::install_recorder)
        .ok()?;
    catalogue::describe();
    Some(handle)
}

/// The interval at which samples are moved into buckets. Until then each sample takes memory, even
/// if nobody scrapes.
const UPKEEP_EVERY: Duration = Duration::from_secs(1);

/// Moves samples into their buckets until its task ends.
pub(super) async fn upkeep(handle: PrometheusHandle, runtime: SharedRuntime) {
    loop {
        runtime.sleep(UPKEEP_EVERY).await;
        handle.run_upkeep();
    }
}

#[derive(Clone)]
struct Metrics {
    host: Arc<Host>,
    readiness: Readiness,
    handle: PrometheusHandle,
}

/// The routes of the operator's port: `/metrics`, `/healthz`, `/readyz` and `/ops`.
pub(super) fn routes(
    host: Arc<Host>,
    readiness: Readiness,
    handle: PrometheusHandle,
    token: Option<Secret>,
) -> Router {
    let metrics = Metrics {
        host: Arc::clone(&host),
        readiness: readiness.clone(),
        handle,
    };
    let operator = guard::guarded(api::operator(host), token);
    Router::new()
        .route("/metrics", get(render))
        .with_state(metrics)
        .merge(health(readiness))
        .nest("/ops", operator)
        .fallback(|| async { Problem::not_found() })
        .layer(middleware::from_fn(problems))
}

/// Answers in any case: figures that store and broker do not return in time are left out.
async fn render(State(metrics): State<Metrics>) -> Response {
    let mut page = Page::default();
    let ready = f64::from(u8::from(metrics.readiness.is_ready()));
    page.gauge("wingbeat_ready", &[], ready);
    scrape::look(&metrics.host, &mut page).await;
    let kind = [("content-type", "text/plain; version=0.0.4; charset=utf-8")];
    (kind, page.render() + &metrics.handle.render()).into_response()
}
