//! The schedules in the operator's API.

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
use crate::run::host::Host;
use crate::schedule::ScheduleStatus;
use crate::{Name, Timestamp};

/// A schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Schedule")]
#[non_exhaustive]
pub struct Schedule {
    /// Its service.
    pub service: Name,
    /// Its name within the service.
    pub name: String,
    /// `every 60s`, or `cron`, an expression and a time zone.
    pub times: String,
    /// `running` or `paused`.
    #[schemars(extend("enum" = ["running", "paused"]))]
    pub state: String,
    /// The planned time of the next run; `null` while it is paused.
    pub next: Option<Timestamp>,
    /// The last run; `null` before the first.
    pub last: Option<ScheduleRun>,
}

/// A run of a schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct ScheduleRun {
    /// The planned time.
    pub planned: Timestamp,
    /// The time at which it was made.
    pub at: Timestamp,
    /// The code of the error with which it failed, or `skipped`; `null` if it succeeded.
    pub error: Option<String>,
}

impl Replicated for Schedule {
    fn is(&self, other: &Self) -> bool {
        (self.service, &self.name) == (other.service, &other.name)
    }

    /// Replicas share the record of a schedule: the last one that was read counts.
    fn join(&mut self, other: Self) {
        let read = |it: &Self| it.last.as_ref().map(|run| run.at);
        if read(&other) > read(self) {
            *self = other;
        }
    }
}

impl From<ScheduleStatus> for Schedule {
    fn from(status: ScheduleStatus) -> Self {
        let paused = status.paused.is_some();
        Self {
            service: status.service,
            name: status.name.to_owned(),
            times: status.times,
            state: if paused { "paused" } else { "running" }.to_owned(),
            next: status.next,
            last: status
                .last
                .zip(status.last_at)
                .map(|(planned, at)| ScheduleRun {
                    planned,
                    at,
                    error: status.failed,
                }),
        }
    }
}

pub(super) fn schedule_routes() -> Routes<Arc<Host>> {
    let missing = "There is no such schedule.";
    Routes::new()
        .route(
            "/schedules",
            get(schedules)
                .summary("The schedules with their last and next runs")
                .answers::<Items<Schedule>>(200),
        )
        .route(
            "/schedules/{service}/{name}/pause",
            plain::post(pause)
                .summary("Pauses a schedule in all processes")
                .answers::<Controlled>(202)
                .problem(404, "not_found", missing),
        )
        .route(
            "/schedules/{service}/{name}/resume",
            plain::post(resume)
                .summary("Resumes a schedule with its next planned time")
                .answers::<Controlled>(202)
                .problem(404, "not_found", missing),
        )
}

async fn schedules(State(host): State<Arc<Host>>) -> Result<Response, Problem> {
    let mut items: Vec<Schedule> = Vec::new();
    for running in host.running() {
        items.extend(running.schedules().await?.into_iter().map(Schedule::from));
    }
    Ok(Json(Items::from(items)).into_response())
}

/// The new state of a schedule.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ScheduleControlled")]
struct Controlled {
    service: String,
    name: String,
    /// `running` or `paused`.
    #[schemars(extend("enum" = ["running", "paused"]))]
    state: &'static str,
}

async fn pause(
    operator: Extension<Operator>,
    State(host): State<Arc<Host>>,
    Path(schedule): Path<(String, String)>,
) -> Result<Response, Problem> {
    set(&host, operator, schedule, "paused").await
}

async fn resume(
    operator: Extension<Operator>,
    State(host): State<Arc<Host>>,
    Path(schedule): Path<(String, String)>,
) -> Result<Response, Problem> {
    set(&host, operator, schedule, "running").await
}

async fn set(
    host: &Host,
    Extension(Operator(by)): Extension<Operator>,
    (service, name): (String, String),
    state: &'static str,
) -> Result<Response, Problem> {
    for running in host.running() {
        let found = if state == "paused" {
            running.pause_schedule(&service, &name).await?
        } else {
            running.resume_schedule(&service, &name).await?
        };
        if found {
            tracing::info!(target: "audit", by, service, name, state, "schedule controlled");
            let body = Controlled {
                service,
                name,
                state,
            };
            return Ok((StatusCode::ACCEPTED, Json(body)).into_response());
        }
    }
    Err(Problem::not_found())
}

#[cfg(test)]
mod tests {
    use super::super::lists::joined;
    use super::*;

    fn schedule(name: &str, last: Option<i64>) -> Schedule {
        Schedule {
            service: Name::new("orders"),
            name: name.into(),
            times: "every 60s".into(),
            state: "running".into(),
            next: None,
            last: last.map(Timestamp::from_micros).map(|at| ScheduleRun {
                planned: at,
                at,
                error: None,
            }),
        }
    }

    #[test]
    fn a_schedule_of_several_replicas_appears_once_with_its_last_run() {
        let (clean, report) = (|last| schedule("clean", last), schedule("report", None));
        for lasts in [[None, Some(7)], [Some(7), None], [Some(6), Some(7)]] {
            // The first replica is of an earlier release and does not know the second schedule.
            let [one, other] = lasts.map(clean);
            let lists = [vec![one], vec![other, report.clone()]];
            assert_eq!(joined(lists), [clean(Some(7)), report.clone()]);
        }
    }
}
