//! The replays in the operator's API.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::lists::Items;
use crate::http::{Problem, Routes, get};
use crate::run::host::Host;
use crate::{Name, ReplayStatus, Timestamp};

/// A replay: the events of the past, for one subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Replay")]
pub(super) struct Replay {
    /// The service that owns the events.
    service: Name,
    /// The queue of the subscription.
    queue: String,
    /// The message type.
    message: String,
    /// `running`; `waiting` for a subscriber that has confirmed nothing for ten minutes; `failing`
    /// because of `failure`; or `done`.
    #[schemars(extend("enum" = ["running", "waiting", "failing", "done"]))]
    state: String,
    /// The time of the request.
    began: Timestamp,
    /// The number of events that the subscriber has settled.
    events: u64,
    /// The number of aggregates whose histories are complete.
    aggregates: u64,
    /// The time at which the replay was complete; `null` before.
    done: Option<Timestamp>,
    /// The error because of which the past cannot be sent; `null` if it can.
    failure: Option<String>,
}

impl From<ReplayStatus> for Replay {
    fn from(status: ReplayStatus) -> Self {
        let state = match &status {
            it if it.done.is_some() => "done",
            it if it.failure.is_some() => "failing",
            it if it.waiting => "waiting",
            _ => "running",
        };
        Self {
            service: status.service,
            queue: status.queue,
            message: status.message,
            state: state.to_owned(),
            began: status.began,
            events: status.messages,
            aggregates: status.aggregates,
            done: status.done,
            failure: status.failure,
        }
    }
}

pub(super) fn replay_routes() -> Routes<Arc<Host>> {
    Routes::new().route(
        "/replays",
        get(replays)
            .summary("The progress of subscriptions from the beginning")
            .answers::<Items<Replay>>(200),
    )
}

async fn replays(State(host): State<Arc<Host>>) -> Result<Response, Problem> {
    let mut items: Vec<Replay> = Vec::new();
    for running in host.running() {
        items.extend(running.replays().await?.into_iter().map(Replay::from));
    }
    Ok(Json(Items::from(items)).into_response())
}
