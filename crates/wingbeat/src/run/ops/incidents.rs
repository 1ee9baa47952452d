//! Dead letters by cause, and redrives, in the operator's API.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::guard::Operator;
use super::letters::Letter;
use super::lists::{Items, Replicated};
use crate::failed::{self, Decision, RedriveState, Selection};
use crate::http::{Cursor, Path, Problem, Query, Routes, get, ok, plain};
use crate::run::host::Host;
use crate::{Error, Name, Running, Timestamp};

/// The default number of groups, letters and actions in a list.
const LIMIT: usize = 50;
/// The largest number of groups, letters and actions in a list.
const LIMIT_MAX: usize = 200;
/// The name of the list of letters in its cursors.
const LETTERS: &str = "incident-letters";

/// Dead letters with one cause.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Incident")]
#[non_exhaustive]
pub struct Incident {
    /// The service.
    pub service: Name,
    /// The fingerprint of its dead letters.
    pub group: String,
    /// The queue that they came from.
    pub subscription: String,
    /// The message type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The error code.
    pub reason: String,
    /// The last error message, shortened.
    pub error: String,
    /// The time at which the first one became a dead letter.
    pub first_at: Timestamp,
    /// The time at which the latest one did.
    pub last_at: Timestamp,
    /// The number of dead letters that wait for a decision.
    pub count: u64,
    /// Failures since the first one, those of retried dead letters included.
    pub failures: u64,
    /// Failures a minute, in the last five minutes.
    pub per_minute: f64,
    /// Failures in the last hour.
    pub last_hour: u64,
    /// The number of different message keys: exact up to 63, otherwise estimated.
    pub affected_keys: u64,
    /// Some of the keys.
    pub keys: Vec<String>,
}

impl Incident {
    fn new(service: Name, it: failed::Incident, now: Timestamp) -> Self {
        let recent = u32::try_from(it.failures_within(5, now)).unwrap_or(u32::MAX);
        Self {
            service,
            per_minute: f64::from(recent) / 5.0,
            last_hour: it.failures_within(60, now),
            affected_keys: it.affected_keys(),
            group: it.group,
            subscription: it.subscription,
            kind: it.kind,
            reason: it.reason,
            error: it.error,
            first_at: it.first_at,
            last_at: it.last_at,
            count: it.count,
            failures: it.failures,
            keys: it.keys,
        }
    }
}

impl Replicated for Incident {
    fn is(&self, other: &Self) -> bool {
        (self.service, &self.group) == (other.service, &other.group)
    }

    /// Replicas share the record of a group: the one that has counted more was read later.
    fn join(&mut self, other: Self) {
        if (other.failures, Reverse(other.count)) > (self.failures, Reverse(self.count)) {
            *self = other;
        }
    }
}

/// A group with a page of its dead letters.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "IncidentWhole")]
struct Whole {
    #[serde(flatten)]
    incident: Incident,
    /// A page of its dead letters, in the order of their ids.
    items: Vec<Letter>,
    /// The cursor of the next page; `null` on the last page.
    next_cursor: Option<Cursor>,
}

/// Dead letters that are handled again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Redrive")]
#[non_exhaustive]
pub struct Redrive {
    /// The service.
    pub service: Name,
    /// Its id.
    pub id: Uuid,
    /// The dead letters, by field.
    pub selection: BTreeMap<String, String>,
    /// The dead letters a second.
    pub rate: u32,
    /// The number of failures that do not stop it.
    pub tolerate: u32,
    /// The state.
    pub state: RedriveState,
    /// The person or program that began it.
    pub by: String,
    /// The reason that was given.
    pub why: String,
    /// The time at which it began.
    pub began: Timestamp,
    /// The time at which it ended.
    pub ended: Option<Timestamp>,
    /// Dead letters that were delivered.
    pub sent: u64,
    /// Those that failed again, until it stopped.
    pub failed: u64,
    /// Those that were passed over, because they cannot be handled.
    pub skipped: u64,
    /// The dead letter that failed last.
    pub failed_letter: Option<Uuid>,
    /// Its error.
    pub error: Option<String>,
}

impl Redrive {
    fn new(service: Name, it: failed::Redrive) -> Self {
        let given = &it.selection;
        let fields = [
            ("group", &given.group),
            ("subscription", &given.subscription),
            ("type", &given.kind),
            ("reason", &given.reason),
            ("key", &given.key),
            ("error", &given.error),
        ];
        let fields = fields.into_iter();
        let mut selection: BTreeMap<String, String> = fields
            .filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)))
            .collect();
        let most = given.retries_max.map(|most| most.to_string());
        selection.extend(most.map(|most| ("retries_max".to_owned(), most)));
        let (failed_letter, error) = it.last_failure.unzip();
        Self {
            service,
            id: it.id,
            selection,
            rate: it.selection.rate,
            tolerate: it.selection.tolerate,
            state: it.state,
            by: it.by,
            why: it.why,
            began: it.began,
            ended: it.ended,
            sent: it.sent,
            failed: it.failed,
            skipped: it.skipped,
            failed_letter,
            error,
        }
    }
}

impl Replicated for Redrive {
    fn is(&self, other: &Self) -> bool {
        (self.service, self.id) == (other.service, other.id)
    }

    fn join(&mut self, other: Self) {
        if (other.ended, other.sent, other.failed) > (self.ended, self.sent, self.failed) {
            *self = other;
        }
    }
}

/// An action on dead letters or a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Action")]
#[non_exhaustive]
pub struct Action {
    /// The service.
    pub service: Name,
    /// Who did what, when and why.
    #[serde(flatten)]
    pub action: failed::Action,
}

impl Replicated for Action {
    fn is(&self, other: &Self) -> bool {
        self == other
    }

    fn join(&mut self, _: Self) {}
}

pub(super) fn incident_routes() -> Routes<Arc<Host>> {
    let cursor = "The cursor does not belong to this list.";
    Routes::new()
        .route(
            "/incidents",
            get(incidents)
                .summary("The dead letters of all services by cause, the largest group first")
                .answers::<Items<Incident>>(200),
        )
        .route(
            "/incidents/{service}/{group}",
            get(incident)
                .summary("A group with a page of its dead letters")
                .answers::<Whole>(200)
                .problem(400, "bad_cursor", cursor)
                .problem(404, "not_found", "There is no such group."),
        )
        .route(
            "/redrives",
            get(redrives)
                .summary("Dead letters that are or were handled again, many at once")
                .answers::<Items<Redrive>>(200),
        )
        .route(
            "/redrives/{service}",
            plain::post(begin)
                .summary("Handles many dead letters again: a canary first, then at a bounded rate")
                .answers::<Redrive>(202)
                .problem(404, "not_found", "There is no such service.")
                .problem(409, "too_many_redrives", "16 redrives are in progress."),
        )
        .route(
            "/redrives/{service}/{id}/stop",
            plain::post(stop)
                .summary("Stops a redrive")
                .answers::<Stopped>(202)
                .problem(404, "not_found", "No such redrive is in progress."),
        )
        .route(
            "/actions",
            get(actions)
                .summary("Who did what with dead letters and subscriptions, the latest first")
                .answers::<Items<Action>>(200),
        )
}

/// The query of a list.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "IncidentQuery")]
struct Listing {
    /// The `next_cursor` of the previous page.
    cursor: Option<Cursor>,
    /// The number of entries.
    #[schemars(range(min = 1, max = 200), extend("default" = LIMIT))]
    limit: Option<usize>,
}

impl Listing {
    fn limit(&self) -> Result<usize, Problem> {
        let limit = self.limit.unwrap_or(LIMIT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(Problem::invalid("/limit", "1 to 200"));
        }
        Ok(limit)
    }
}

async fn incidents(
    State(host): State<Arc<Host>>,
    Query(listing): Query<Listing>,
) -> Result<Response, Problem> {
    let limit = listing.limit()?;
    let mut all = Vec::new();
    for running in host.running() {
        let now = running.ports.runtime.now();
        for service in running.services().collect::<Vec<_>>() {
            let found = running.incidents_of(service).await?.into_iter();
            all.extend(found.map(|it| Incident::new(service, it, now)));
        }
    }
    all.sort_by_key(|it| Reverse((it.count, it.last_at)));
    all.truncate(limit);
    Ok(ok(&Items::from(all)).into_response())
}

/// Returns the part of this process in which a service runs, and its name.
fn find(host: &Host, service: &str) -> Result<(Arc<Running>, Name), Problem> {
    for running in host.running() {
        let mut services = running.services();
        let found = services.find(|it| it.as_str() == service);
        drop(services);
        if let Some(found) = found {
            return Ok((running, found));
        }
    }
    Err(Problem::not_found())
}

async fn incident(
    State(host): State<Arc<Host>>,
    Path((service, group)): Path<(String, String)>,
    Query(listing): Query<Listing>,
) -> Result<Response, Problem> {
    let limit = listing.limit()?;
    let after = listing.cursor.as_ref().map(|it| it.position(LETTERS));
    let (running, service) = find(&host, &service)?;
    let mut groups = running.incidents_of(service).await?.into_iter();
    let found = groups.find(|it| it.group == group);
    let found = found.ok_or_else(Problem::not_found)?;
    let page = running.incident_letters(service, &group, after.transpose()?, limit);
    let (letters, next) = page.await?;
    let now = running.ports.runtime.now();
    let whole = Whole {
        incident: Incident::new(service, found, now),
        items: letters.into_iter().map(Letter::from).collect(),
        next_cursor: next.map(|position| Cursor::new(LETTERS, &position)),
    };
    Ok(ok(&whole).into_response())
}

async fn redrives(State(host): State<Arc<Host>>) -> Result<Response, Problem> {
    let mut all = Vec::new();
    for running in host.running() {
        for service in running.services().collect::<Vec<_>>() {
            let found = running.redrives_of(service).await?.into_iter();
            all.extend(found.map(|it| Redrive::new(service, it)));
        }
    }
    all.sort_by_key(|it| Reverse(it.began));
    Ok(Json(Items::from(all)).into_response())
}

/// The dead letters to handle again.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "RedriveQuery")]
struct Wanted {
    /// The group.
    group: Option<String>,
    /// The queue that they came from.
    subscription: Option<String>,
    /// The message type.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// The error code.
    reason: Option<String>,
    /// The key of the message.
    key: Option<String>,
    /// A part of the error message.
    error: Option<String>,
    /// Only those that were retried at most this number of times.
    retries_max: Option<u32>,
    /// The dead letters a second.
    #[schemars(range(min = 1, max = 1_000), extend("default" = 100))]
    rate: Option<u32>,
    /// The number of failures that do not stop it.
    #[schemars(range(max = 1_000), extend("default" = 0))]
    tolerate: Option<u32>,
    /// The reason, for the log of actions.
    why: Option<String>,
}

/// Returns the decision of an operator.
pub(super) fn decision(operator: &Operator, why: Option<&str>) -> Decision {
    Decision::by(&*operator.0).because(why.unwrap_or_default())
}

async fn begin(
    Extension(operator): Extension<Operator>,
    State(host): State<Arc<Host>>,
    Path(service): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    let (running, service) = find(&host, &service)?;
    let by = decision(&operator, wanted.why.as_deref());
    let default = Selection::default();
    let selection = Selection {
        group: wanted.group,
        subscription: wanted.subscription,
        kind: wanted.kind,
        reason: wanted.reason,
        key: wanted.key,
        error: wanted.error,
        retries_max: wanted.retries_max,
        rate: wanted.rate.unwrap_or(default.rate),
        tolerate: wanted.tolerate.unwrap_or(default.tolerate),
    };
    let begun = running.redrive(service, selection, &by).await;
    let begun = begun.map_err(refusal)?.ok_or_else(Problem::not_found)?;
    tracing::info!(target: "audit", by = operator.0, redrive = %begun.id, "redrive begun");
    let body = Json(Redrive::new(service, begun));
    Ok((StatusCode::ACCEPTED, body).into_response())
}

/// Returns the problem of an action that was refused.
pub(super) fn refusal(why: Error) -> Problem {
    match why.code() {
        "too_many_redrives" | "not_editable" | "undecodable" => {
            Problem::new(409, why.code(), why.to_string())
        }
        "bad_selection" | "misfit" | "unknown_type" => {
            Problem::new(422, why.code(), why.to_string())
        }
        _ => why.into(),
    }
}

/// The reason for an action.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Reason")]
pub(super) struct Why {
    /// The reason, for the log of actions.
    pub(super) why: Option<String>,
}

/// The redrive that was stopped.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "RedriveStopped")]
struct Stopped {
    id: Uuid,
}

async fn stop(
    Extension(operator): Extension<Operator>,
    State(host): State<Arc<Host>>,
    Path((service, id)): Path<(String, String)>,
    Query(why): Query<Why>,
) -> Result<Response, Problem> {
    let id: Uuid = id.parse().map_err(|_| Problem::not_found())?;
    let (running, service) = find(&host, &service)?;
    let by = decision(&operator, why.why.as_deref());
    if !running.cancel_redrive(service, id, &by).await? {
        return Err(Problem::not_found());
    }
    tracing::info!(target: "audit", by = operator.0, redrive = %id, "redrive stopped");
    Ok((StatusCode::ACCEPTED, Json(Stopped { id })).into_response())
}

async fn actions(
    State(host): State<Arc<Host>>,
    Query(listing): Query<Listing>,
) -> Result<Response, Problem> {
    let limit = listing.limit()?;
    let mut all = Vec::new();
    for running in host.running() {
        for service in running.services().collect::<Vec<_>>() {
            let found = running.actions(service, limit).await?.into_iter();
            all.extend(found.map(|action| Action { service, action }));
        }
    }
    all.sort_by_key(|it| Reverse(it.action.at));
    all.truncate(limit);
    Ok(Json(Items::from(all)).into_response())
}
