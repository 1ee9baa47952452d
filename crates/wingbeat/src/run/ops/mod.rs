//! The operator's port: metrics, and the operator's API.

pub(crate) mod api;
mod catalogue;
mod condition;
mod contracts;
mod exemplars;
#[cfg(feature = "otlp")]
mod exporting;
mod fan_out;
mod guard;
mod incidents;
mod letter;
mod letters;
mod limits;
mod lists;
mod openmetrics;
mod overload;
mod page;
mod rebuilds;
mod recorder;
mod recordings;
mod records;
mod replays;
mod sagas;
mod schedules;
mod scrape;
mod timeline;
mod wiring;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::TextEncoder;
use prometheus::proto::MetricFamily;

use super::host::Host;
use super::readiness::{Readiness, health};
use super::settings::Secret;
use crate::http::{Problem, problems};
use page::Page;

pub use api::{look, operator, operator_routes};
#[cfg(feature = "otlp")]
pub(super) use exporting::Exporting;
pub use fan_out::{Answer, Asked, FanOut, Processes, story_routes};
pub use guard::Operator;
#[cfg(feature = "console")]
pub(super) use guard::guarded;
pub use incidents::{Action, Incident, Redrive};
pub use letters::{Letter, LetterPage, LetterQuery};
pub use lists::{
    Breaker, Items, Replicated, State as SubscriptionState, Subscription, Unroutable, joined,
};
pub use overload::Resource;
pub use rebuilds::{Rebuild, RebuiltProjection};
pub(super) use recorder::Recorder;
pub use records::StoryRecord;
pub use replays::Replay;
pub use sagas::{Instance, InstancePage, PendingTimer, Sagas, WholeInstance};
pub use schedules::{Schedule, ScheduleRun};
pub use timeline::{Step, Timeline, in_order, story};

/// Starts recording metrics; `None` if this process records them already.
pub(super) fn record() -> Option<Recorder> {
    let recorder = Recorder::default();
    metrics::with_local_recorder(&recorder, catalogue::describe);
    metrics::set_global_recorder(recorder.clone()).ok()?;
    Some(recorder)
}

/// The metrics of a process: those that it records, and those that are read when they are asked
/// for.
#[derive(Clone)]
pub(super) struct Metrics {
    pub(in crate::run) host: Arc<Host>,
    pub(in crate::run) readiness: Readiness,
    pub(in crate::run) recorder: Recorder,
}

impl Metrics {
    /// Returns all metrics, in any case: figures that store and broker do not return in time are
    /// left out.
    async fn families(&self) -> Vec<MetricFamily> {
        let mut page = Page::default();
        let ready = f64::from(u8::from(self.readiness.is_ready()));
        page.gauge("wingbeat_ready", &[], ready);
        scrape::look(&self.host, &mut page).await;
        let mut families = page.families();
        families.extend(self.recorder.families());
        families
    }
}

/// The routes of the operator's port: `/metrics`, `/healthz`, `/readyz` and `/ops`.
pub(super) fn routes(metrics: Metrics, token: Option<Secret>) -> Router {
    let (host, readiness) = (Arc::clone(&metrics.host), metrics.readiness.clone());
    let operator = guard::guarded(api::operator(host), token);
    Router::new()
        .route("/metrics", get(render))
        .with_state(metrics)
        .merge(health(readiness))
        .nest("/ops", operator)
        .fallback(|| async { Problem::not_found() })
        .layer(middleware::from_fn(problems))
}

/// The page in the format that the scraper prefers.
async fn render(State(metrics): State<Metrics>, headers: HeaderMap) -> Response {
    let families = metrics.families().await;
    let (kind, page) = if openmetrics::is_preferred(&headers) {
        let page = openmetrics::render(&families, &metrics.recorder);
        (openmetrics::CONTENT_TYPE, page)
    } else {
        let page = TextEncoder::new().encode_to_string(&families);
        let page = page.expect("every metric has a name and a value");
        ("text/plain; version=0.0.4; charset=utf-8", page)
    };
    ([("content-type", kind)], page).into_response()
}
