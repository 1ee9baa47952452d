//! The operator's API: subscriptions, schedules, dead letters, breakers, overload, unroutable
//! messages, timelines.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json, Router};
use futures_util::future::try_join_all;
use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use super::condition::condition_routes;
use super::contracts::contract_routes;
use super::guard::Operator;
use super::incidents::{Why, decision, incident_routes};
use super::letter::{Settled, Whole, discard, edit, letter, retry};
use super::letters::{LetterPage, list};
use super::limits::{limit_routes, written};
use super::lists::{Breaker, Items, Pause, State, Subscription, Unroutable, joined};
use super::overload::overload_routes;
use super::rebuilds::{projection_routes, rebuild_routes};
use super::recordings::recording_routes;
use super::records::record_routes;
use super::replays::replay_routes;
use super::sagas::saga_routes;
use super::schedules::schedule_routes;
use super::timeline::{Timeline, story};
use super::wiring::wiring_routes;
use crate::app::RunningSubscription;
use crate::failed::Decision;
use crate::http::{Path, Problem, Query, Routes, get, plain};
use crate::run::host::Host;
use crate::run::system::RunningSystem;
use crate::runtime::Control;
use crate::{Error, Name, Result, Running};

/// The routes of the operator's API, with those about this process: its clock, its servers, the
/// wiring. They need a guard around them that inserts an [`Operator`].
pub fn operator(host: Arc<Host>) -> Router {
    operator_routes()
        .merge(condition_routes())
        .merge(wiring_routes())
        .merge(contract_routes())
        .merge(projection_routes())
        .merge(recording_routes())
        .merge(edit_routes())
        .with_state(host)
        .into_router()
}

/// The routes of the operator's API with their descriptions. Set a host as their state. They need a
/// guard around them that inserts an [`Operator`].
pub fn operator_routes() -> Routes<Arc<Host>> {
    subscription_routes()
        .merge(limit_routes())
        .merge(schedule_routes())
        .merge(replay_routes())
        .merge(rebuild_routes())
        .merge(overload_routes())
        .merge(dead_letter_routes())
        .merge(incident_routes())
        .merge(saga_routes())
        .merge(record_routes())
        .route(
            "/breakers",
            get(breakers)
                .summary("The outside systems of all services: circuit breakers and limits")
                .answers::<Items<Breaker>>(200),
        )
        .route(
            "/unroutable",
            get(unroutable)
                .summary("Message types that no queue is bound to")
                .answers::<Items<Unroutable>>(200),
        )
        .route(
            "/stories/{id}",
            get(timeline)
                .summary("The messages, timers and calls with this correlation id")
                .answers::<Timeline>(200)
                .problem(404, "not_found", "It is no correlation id."),
        )
        .tag("operator")
        .problem(503, "unavailable", "A service or a server does not answer.")
}

fn subscription_routes() -> Routes<Arc<Host>> {
    let missing = "There is no such subscription.";
    Routes::new()
        .route(
            "/subscriptions",
            get(subscriptions)
                .summary("State and counters of every subscription")
                .answers::<Items<Subscription>>(200),
        )
        .route(
            "/subscriptions/{service}/{name}/pause",
            plain::post(pause)
                .summary("Pauses a subscription in all processes")
                .answers::<Controlled>(202)
                .problem(404, "not_found", missing),
        )
        .route(
            "/subscriptions/{service}/{name}/resume",
            plain::post(resume)
                .summary("Resumes a subscription in all processes")
                .answers::<Controlled>(202)
                .problem(404, "not_found", missing),
        )
}

fn dead_letter_routes() -> Routes<Arc<Host>> {
    let missing = "There is no such dead letter.";
    Routes::new()
        .route(
            "/dead-letters",
            get(list)
                .summary("The dead letters of all services, oldest first")
                .answers::<LetterPage>(200)
                .problem(
                    400,
                    "bad_cursor",
                    "The cursor does not belong to this list.",
                ),
        )
        .route(
            "/dead-letters/{id}",
            get(letter)
                .summary("One dead letter, with headers and body")
                .answers::<Whole>(200)
                .problem(404, "not_found", missing),
        )
        .route(
            "/dead-letters/{id}/retry",
            plain::post(retry)
                .summary("Handles a dead letter again")
                .answers::<Settled>(202)
                .problem(404, "not_found", missing)
                .problem(409, "undecodable", "The dead letter contains no message."),
        )
        .route(
            "/dead-letters/{id}/discard",
            plain::post(discard)
                .summary("Discards a dead letter. The counters still include it")
                .answers::<Settled>(202)
                .problem(404, "not_found", missing),
        )
}

/// The route that replaces the body of a dead letter's message, in the process of its service.
fn edit_routes() -> Routes<Arc<Host>> {
    Routes::new().route(
        "/dead-letters/{id}/edit",
        plain::post(edit)
            .summary("Replaces the body of a dead letter's message")
            .answers::<Settled>(202)
            .problem(404, "not_found", "There is no such dead letter.")
            .problem(409, "not_editable", "The body cannot be replaced.")
            .problem(
                422,
                "misfit",
                "The body does not fit the schema of its message.",
            ),
    )
}

async fn timeline(
    extract::State(host): extract::State<Arc<Host>>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id: Uuid = id.parse().map_err(|_| Problem::not_found())?;
    Ok(Json(story(&host, id.into()).await).into_response())
}

/// Returns the figures of every subscription.
///
/// # Errors
///
/// Those of the store and the broker.
pub async fn look(system: &RunningSystem) -> Result<Vec<Subscription>> {
    let all = system.running.iter().map(|running| of(system, running));
    let all = try_join_all(all).await?;
    Ok(all.into_iter().flatten().collect())
}

/// The counters of a service, and its parked deliveries by queue.
type Kept = (Vec<(Name, i64)>, BTreeMap<Name, u64>);

async fn of(system: &RunningSystem, running: &Running) -> Result<Vec<Subscription>> {
    let services: BTreeSet<Name> = running.subscriptions.iter().map(|it| it.service).collect();
    let reads = services.into_iter().filter_map(|service| {
        let reads = running.reads(service.as_str())?;
        Some(async move {
            let (counters, parked) = (reads.counters().await?, running.parked(service).await?);
            Ok::<_, Error>((service, (counters, parked)))
        })
    });
    let kept: BTreeMap<Name, Kept> = try_join_all(reads).await?.into_iter().collect();
    let whole = running.subscriptions.iter();
    let whole = whole.filter(|it| it.partition_of.is_none());
    let items = whole.filter_map(|one| {
        let kept = kept.get(&one.service)?;
        let partitions = running.subscriptions.iter();
        let partitions = partitions.filter(|it| it.partition_of == Some(one.queue));
        Some(async move {
            let mut item = shown(one, kept, figures(system, one).await?);
            item.pause = running.pause_of(one).map(Pause::from);
            for partition in partitions {
                let (in_flight, waiting) = figures(system, partition).await?;
                item.in_flight += in_flight;
                item.waiting += waiting;
                item.retried += partition.stats.retried.load(Ordering::Relaxed);
                item.partitions += 1;
            }
            Ok(item)
        })
    });
    try_join_all(items).await
}

/// Returns the deliveries of a queue that are handled here, and the others.
async fn figures(system: &RunningSystem, one: &RunningSubscription) -> Result<(u64, u64)> {
    // The depth includes deliveries that are handled.
    let in_flight = one.stats.in_flight.load(Ordering::Relaxed);
    let depth = system.ports.transport.depth(one.queue).await?;
    Ok((in_flight, depth.saturating_sub(in_flight)))
}

fn shown(
    one: &RunningSubscription,
    (counters, parked): &Kept,
    (in_flight, queued): (u64, u64),
) -> Subscription {
    let count = |what: &str| {
        let name = format!("{what}:{}", one.queue);
        let found = counters.iter().find(|(of, _)| of.as_str() == name);
        found.map_or(0, |(_, count)| *count)
    };
    Subscription {
        service: one.service,
        name: one.name().to_owned(),
        state: match one.control() {
            Control::Paused => State::Paused,
            _ => State::Running,
        },
        waiting: queued + parked.get(&one.queue).copied().unwrap_or(0),
        in_flight,
        handled: count("handled"),
        retried: one.stats.retried.load(Ordering::Relaxed),
        dead: count("dead"),
        pause: None,
        concurrency: one.limits().concurrency as u64,
        rate: one.limits().rate.map(written),
        per_tenant: one.limits().per_tenant.map(|it| it as u64),
        priority: one.limits().priority,
        partitions: 0,
    }
}

async fn subscriptions(
    extract::State(host): extract::State<Arc<Host>>,
) -> Result<Response, Problem> {
    let items = look(&host.snapshot()).await?;
    Ok(Json(Items::from(items)).into_response())
}

/// The new state of a subscription.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SubscriptionControlled")]
struct Controlled {
    service: String,
    name: String,
    state: State,
}

async fn pause(
    Extension(operator): Extension<Operator>,
    extract::State(host): extract::State<Arc<Host>>,
    Path(subscription): Path<(String, String)>,
    Query(why): Query<Why>,
) -> Result<Response, Problem> {
    let by = decision(&operator, why.why.as_deref());
    set(&host, &by, subscription, State::Paused).await
}

async fn resume(
    Extension(operator): Extension<Operator>,
    extract::State(host): extract::State<Arc<Host>>,
    Path(subscription): Path<(String, String)>,
    Query(why): Query<Why>,
) -> Result<Response, Problem> {
    let by = decision(&operator, why.why.as_deref());
    set(&host, &by, subscription, State::Running).await
}

async fn set(
    host: &Host,
    by: &Decision,
    (service, name): (String, String),
    state: State,
) -> Result<Response, Problem> {
    for running in host.running() {
        let found = match state {
            State::Paused => running.pause_as(&service, &name, by).await?,
            State::Running => running.resume_as(&service, &name, by).await?,
        };
        if found {
            tracing::info!(target: "audit", by = by.by, service, name, ?state, "subscription controlled");
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

async fn breakers(extract::State(host): extract::State<Arc<Host>>) -> Response {
    let running: Vec<_> = host.running().collect();
    let targets = running.iter().flat_map(|running| &running.targets);
    let items = targets.map(|target| {
        let (state, since) = target.state();
        Breaker {
            service: target.service,
            name: target.name.to_owned(),
            state: state.as_str().to_owned(),
            since,
            concurrency: target.limits().concurrency as u64,
            rate: target.limits().rate.map(written),
        }
    });
    Json(Items::from(items.collect::<Vec<_>>())).into_response()
}

async fn unroutable(extract::State(host): extract::State<Arc<Host>>) -> Result<Response, Problem> {
    let mut all = Vec::new();
    for running in host.running() {
        let types = running.unroutable().await?;
        let types = types.into_iter().map(|it| Unroutable {
            kind: it.kind,
            since: it.since,
            waiting: it.waiting,
        });
        all.push(types.collect());
    }
    Ok(Json(Items::from(joined(all))).into_response())
}
