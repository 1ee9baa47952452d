//! The records of a story in the operator's API: what its units have written, and the states then.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::lists::{Items, Replicated};
use crate::http::{Path, Problem, Routes, get, ok};
use crate::run::host::Host;
use crate::state::{PastRecord, PastState};
use crate::{CorrelationId, Timestamp};

pub(super) fn record_routes() -> Routes<Arc<Host>> {
    Routes::new().route(
        "/stories/{id}/records",
        get(records)
            .summary("The records that the steps of a story have written, and their states then")
            .answers::<Items<StoryRecord>>(200)
            .problem(404, "not_found", "It is no correlation id."),
    )
}

/// A record as a step of a story has left it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct StoryRecord {
    /// The service.
    pub service: String,
    /// The time of the step.
    pub at: Timestamp,
    /// The id of the message that caused the step.
    pub causation_id: Option<Uuid>,
    /// The ids of the messages, timers and calls of the same step, at most 32.
    pub effects: Vec<Uuid>,
    /// `aggregate`, `saga` or `entity`.
    #[schemars(extend("enum" = ["aggregate", "saga", "entity"]))]
    pub kind: String,
    /// The table.
    pub table: String,
    /// The id within the table.
    pub id: String,
    /// The length of the history of an aggregate, and the version of another record; `null` if it
    /// is unknown.
    pub version: Option<u64>,
    /// The name of the state to which a saga has moved.
    pub moved_to: Option<String>,
    /// How the state is known: `history` (folded from the history), `unchanged` (the record has no
    /// history, and nothing has written it since), `not_kept` (the record has no history and was
    /// written since), `removed`, or `too_long`.
    #[schemars(extend("enum" = ["history", "unchanged", "not_kept", "removed", "too_long"]))]
    pub known: String,
    /// The state, if it is known. Encrypted personal values are masked.
    pub state: Option<Value>,
}

impl StoryRecord {
    fn of(service: &str, record: PastRecord) -> Self {
        let (known, state) = match record.state {
            PastState::History(state) => ("history", Some(state)),
            PastState::Unchanged(state) => ("unchanged", Some(state)),
            PastState::NotKept => ("not_kept", None),
            PastState::Removed => ("removed", None),
            PastState::TooLong => ("too_long", None),
        };
        Self {
            service: service.to_owned(),
            at: record.at,
            causation_id: record.causation_id,
            effects: record.effects,
            kind: record.kind.to_owned(),
            table: record.table,
            id: record.id,
            version: record.version,
            moved_to: record.moved_to,
            known: known.to_owned(),
            state,
        }
    }

    /// Returns the name of the saga, if the record is one.
    #[must_use]
    pub fn saga(&self) -> Option<&str> {
        self.table.strip_prefix("saga.")
    }
}

impl Replicated for StoryRecord {
    fn is(&self, other: &Self) -> bool {
        let key = |it: &Self| (it.at, it.version, it.causation_id);
        let record = |it: &Self| (it.service.clone(), it.table.clone(), it.id.clone());
        key(self) == key(other) && record(self) == record(other)
    }

    /// Replicas share the store.
    fn join(&mut self, _: Self) {}
}

async fn records(
    State(host): State<Arc<Host>>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let story: Uuid = id.parse().map_err(|_| Problem::not_found())?;
    let (mut items, mut away) = (Vec::new(), Vec::new());
    for service in host.services() {
        let records = async { host.reads(service)?.records_of(CorrelationId(story)).await };
        match records.await {
            Ok(all) => items.extend(all.into_iter().map(|it| StoryRecord::of(service, it))),
            Err(_) => away.push(service.to_owned()),
        }
    }
    items.sort_by_key(|it| it.at);
    Ok(ok(&Items { items, away }).into_response())
}
