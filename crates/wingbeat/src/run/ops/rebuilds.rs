//! The rebuilds of index rows in the operator's API.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::lists::{Items, Replicated};
use crate::http::{Problem, Routes, get};
use crate::rebuild::RebuildStatus;
use crate::run::host::Host;
use crate::{Name, Timestamp};

/// A rebuild: the index rows of a table are written again for a release with other columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Rebuild")]
#[non_exhaustive]
pub struct Rebuild {
    /// The service.
    pub service: Name,
    /// The table of entities or aggregates.
    pub table: String,
    /// `waiting` for processes of another release to end or for another table; `running`; `failing`
    /// because of `failure`; or `done`.
    #[schemars(extend("enum" = ["waiting", "running", "failing", "done"]))]
    pub state: String,
    /// The index columns by which lists are refused until it is done, as `view.column`; a view
    /// without a column stands for all of its lists.
    pub incomplete: Vec<String>,
    /// The number of records whose rows were written again.
    pub records: u64,
    /// The time at which it began; `null` before.
    pub began: Option<Timestamp>,
    /// The time at which it was done; `null` before.
    pub done: Option<Timestamp>,
    /// The error because of which it does not go on; `null` if it does.
    pub failure: Option<String>,
}

impl Replicated for Rebuild {
    fn is(&self, other: &Self) -> bool {
        (self.service, &self.table) == (other.service, &other.table)
    }

    /// Replicas share the record of a rebuild: the last one that was read counts.
    fn join(&mut self, other: Self) {
        let read = |it: &Self| (it.began, it.done, it.records);
        if read(&other) > read(self) {
            *self = other;
        }
    }
}

impl From<RebuildStatus> for Rebuild {
    fn from(status: RebuildStatus) -> Self {
        let state = match &status {
            it if it.done.is_some() => "done",
            it if it.failure.is_some() => "failing",
            it if it.began.is_some() => "running",
            _ => "waiting",
        };
        Self {
            service: status.service,
            table: status.table,
            state: state.to_owned(),
            incomplete: status.incomplete,
            records: status.records,
            began: status.began,
            done: status.done,
            failure: status.failure,
        }
    }
}

pub(super) fn rebuild_routes() -> Routes<Arc<Host>> {
    Routes::new().route(
        "/rebuilds",
        get(rebuilds)
            .summary("The progress of index rows that are written again for a new release")
            .answers::<Items<Rebuild>>(200),
    )
}

async fn rebuilds(State(host): State<Arc<Host>>) -> Result<Response, Problem> {
    let mut items: Vec<Rebuild> = Vec::new();
    for running in host.running() {
        items.extend(running.rebuilds().await?.into_iter().map(Rebuild::from));
    }
    Ok(Json(Items::from(items)).into_response())
}

#[cfg(test)]
mod tests {
    use super::super::lists::joined;
    use super::*;

    #[test]
    fn a_rebuild_of_several_replicas_appears_once_with_its_latest_progress() {
        let rebuild = |began: Option<i64>, records, done: Option<i64>| Rebuild {
            service: Name::new("library"),
            table: "book".into(),
            state: if done.is_some() { "done" } else { "running" }.into(),
            incomplete: Vec::new(),
            records,
            began: began.map(Timestamp::from_micros),
            done: done.map(Timestamp::from_micros),
            failure: None,
        };
        for (early, late) in [
            (rebuild(None, 0, None), rebuild(Some(1), 64, None)),
            (rebuild(Some(1), 64, None), rebuild(Some(1), 128, None)),
            (rebuild(Some(1), 128, None), rebuild(Some(1), 128, Some(9))),
        ] {
            for lists in [[&early, &late], [&late, &early]] {
                let lists = lists.map(|one| vec![one.clone()]);
                assert_eq!(joined(lists), std::slice::from_ref(&late));
            }
        }
    }
}
