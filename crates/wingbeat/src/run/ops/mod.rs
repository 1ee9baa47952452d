//! The operator's port: metrics, and the operator's API.

pub(crate) mod api;
mod catalogue;
mod condition;
mod contracts;
mod fan_out;
mod guard;
mod incidents;
mod letter;
mod letters;
mod limits;
mod lists;
mod overload;
mod page;
mod rebuilds;
mod recorder;
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
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::host::Host;
use super::readiness::{Readiness, health};
use super::settings::Secret;
use crate::http::{Problem, problems};
use page::Page;

pub use api::{look, operator, operator_routes};
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

#[derive(Clone)]
struct Metrics {
    host: Arc<Host>,
    readiness: Readiness,
    recorder: Recorder,
}

/// The routes of the operator's port: `/metrics`, `/healthz`, `/readyz` and `/ops`.
pub(super) fn routes(
    host: Arc<Host>,
    readiness: Readiness,
    recorder: Recorder,
    token: Option<Secret>,
) -> Router {
    let metrics = Metrics {
        host: Arc::clone(&host),
        readiness: readiness.clone(),
        recorder,
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
    (kind, page.render() + &metrics.recorder.render()).into_response()
}
