//! The rebuilds of index rows and projections in the operator's API.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::guard::Operator;
use super::lists::{Items, Replicated};
use crate::http::{Path, Problem, Routes, get, plain};
use crate::rebuild::RebuildStatus;
use crate::run::host::Host;
use crate::{Name, Timestamp};

/// A rebuild: the index rows of a table are written again for a release with other columns, or the
/// rows of a projection are built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Rebuild")]
#[non_exhaustive]
pub struct Rebuild {
    /// The service.
    pub service: Name,
    /// The table of entities or aggregates.
    pub table: String,
    /// `waiting` for processes of another release to end or for another table; `running`; `failing`
    /// because of `failure`; `done`; or for a projection `abandoned`, or `removing` its rows.
    #[schemars(extend("enum" = [
        "waiting", "running", "failing", "done", "abandoned", "removing"
    ]))]
    pub state: String,
    /// The index columns by which lists are refused until it is done, as `view.column`; a view
    /// without a column stands for all of its lists.
    pub incomplete: Vec<String>,
    /// The number of records whose rows were written again, or of aggregates that were visited.
    pub records: u64,
    /// The time at which it began; `null` before.
    pub began: Option<Timestamp>,
    /// The time at which it was done; `null` before.
    pub done: Option<Timestamp>,
    /// The error because of which it does not go on; `null` if it does.
    pub failure: Option<String>,
    /// The version of a projection; `null` for index rows.
    #[serde(default)]
    pub projection: Option<RebuiltProjection>,
}

/// A version of a projection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "RebuiltProjection")]
#[non_exhaustive]
pub struct RebuiltProjection {
    /// The view of its rows.
    pub view: String,
    /// The version.
    pub version: u32,
    /// The version whose rows readers see; `null` while the first one is being built.
    pub shown: Option<u32>,
    /// The number of events that its rows count.
    pub events: u64,
}

impl Replicated for Rebuild {
    fn is(&self, other: &Self) -> bool {
        let named = |it: &Self| {
            let version = it.projection.as_ref();
            version.map(|it| (it.view.clone(), it.version))
        };
        (self.service, &self.table) == (other.service, &other.table) && named(self) == named(other)
    }

    /// Replicas share the record of a rebuild: the last one that was read counts.
    fn join(&mut self, other: Self) {
        let events = |it: &Self| it.projection.as_ref().map(|it| it.events);
        let read = |it: &Self| (it.began, it.done, it.records, events(it));
        if read(&other) > read(self) {
            *self = other;
        }
    }
}

impl From<RebuildStatus> for Rebuild {
    fn from(status: RebuildStatus) -> Self {
        let of = status.projection.as_ref();
        let state = match &status {
            _ if of.is_some_and(|it| it.removing) => "removing",
            _ if of.is_some_and(|it| it.abandoned) => "abandoned",
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
            projection: status.projection.map(|it| RebuiltProjection {
                view: it.view,
                version: it.version,
                shown: it.shown,
                events: it.events,
            }),
        }
    }
}

pub(super) fn rebuild_routes() -> Routes<Arc<Host>> {
    Routes::new().route(
        "/rebuilds",
        get(rebuilds)
            .summary("The progress of index rows and projections that are built for a new release")
            .answers::<Items<Rebuild>>(200),
    )
}

/// Commands on projections, which only the operator's port takes.
pub(super) fn projection_routes() -> Routes<Arc<Host>> {
    Routes::new()
        .route(
            "/projections/{service}/{view}/abandon",
            plain::post(abandon)
                .summary("Removes the version of a projection that is being built")
                .answers::<Controlled>(202)
                .problem(
                    404,
                    "not_found",
                    "Readers see this version, or there is none.",
                ),
        )
        .route(
            "/projections/{service}/{view}/resume",
            plain::post(resume)
                .summary("Builds an abandoned version of a projection again")
                .answers::<Controlled>(202)
                .problem(
                    404,
                    "not_found",
                    "No version of this projection was abandoned.",
                ),
        )
}

/// The new state of a projection.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ProjectionControlled")]
struct Controlled {
    service: String,
    view: String,
    /// `abandoned` or `building`.
    #[schemars(extend("enum" = ["abandoned", "building"]))]
    state: &'static str,
}

async fn abandon(
    operator: Extension<Operator>,
    State(host): State<Arc<Host>>,
    Path(projection): Path<(String, String)>,
) -> Result<Response, Problem> {
    set(&host, operator, projection, "abandoned").await
}

async fn resume(
    operator: Extension<Operator>,
    State(host): State<Arc<Host>>,
    Path(projection): Path<(String, String)>,
) -> Result<Response, Problem> {
    set(&host, operator, projection, "building").await
}

async fn set(
    host: &Host,
    Extension(Operator(by)): Extension<Operator>,
    (service, view): (String, String),
    state: &'static str,
) -> Result<Response, Problem> {
    for running in host.running() {
        let changed = if state == "abandoned" {
            running.abandon_projection(&service, &view).await?
        } else {
            running.resume_projection(&service, &view).await?
        };
        if changed {
            tracing::info!(target: "audit", by, service, view, state, "projection controlled");
            let body = Controlled {
                service,
                view,
                state,
            };
            return Ok((StatusCode::ACCEPTED, Json(body)).into_response());
        }
    }
    Err(Problem::not_found())
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
            projection: None,
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
