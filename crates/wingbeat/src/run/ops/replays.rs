//! The replays in the operator's API.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::lists::{Items, Replicated};
use crate::http::{Problem, Routes, get};
use crate::replay::ReplayStatus;
use crate::run::host::Host;
use crate::{Name, Timestamp};

/// A replay: the events of the past, for one subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Replay")]
#[non_exhaustive]
pub struct Replay {
    /// The service that owns the events.
    pub service: Name,
    /// The queue of the subscription.
    pub queue: String,
    /// The message type.
    pub message: String,
    /// `running`; `waiting` for a subscriber that has confirmed nothing for ten minutes; `failing`
    /// because of `failure`; or `done`.
    #[schemars(extend("enum" = ["running", "waiting", "failing", "done"]))]
    pub state: String,
    /// The time of the request.
    pub began: Timestamp,
    /// The number of events that the subscriber has settled.
    pub events: u64,
    /// The number of aggregates whose histories are complete.
    pub aggregates: u64,
    /// The time at which the replay was complete; `null` before.
    pub done: Option<Timestamp>,
    /// The error because of which the past cannot be sent; `null` if it can.
    pub failure: Option<String>,
}

impl Replicated for Replay {
    fn is(&self, other: &Self) -> bool {
        (self.service, &self.queue) == (other.service, &other.queue)
    }

    /// Replicas share the record of a replay: the last one that was read counts.
    fn join(&mut self, other: Self) {
        let read = |it: &Self| (it.began, it.done, it.events, it.aggregates);
        if read(&other) > read(self) {
            *self = other;
        }
    }
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

#[cfg(test)]
mod tests {
    use super::super::lists::joined;
    use super::*;

    fn replay(began: i64, events: u64, done: Option<i64>) -> Replay {
        Replay {
            service: Name::new("orders"),
            queue: "reports.placed".into(),
            message: "orders.order_placed.v1".into(),
            state: if done.is_some() { "done" } else { "running" }.into(),
            began: Timestamp::from_micros(began),
            events,
            aggregates: events,
            done: done.map(Timestamp::from_micros),
            failure: None,
        }
    }

    #[test]
    fn a_replay_of_several_replicas_appears_once_with_its_latest_progress() {
        for (early, late) in [
            (replay(1, 3, None), replay(1, 4, None)),
            (replay(1, 4, None), replay(1, 4, Some(9))),
            (replay(1, 4, Some(9)), replay(10, 0, None)),
        ] {
            for lists in [[&early, &late], [&late, &early]] {
                let lists = lists.map(|one| vec![one.clone()]);
                assert_eq!(joined(lists), std::slice::from_ref(&late));
            }
        }
    }
}
