//! The condition of a process in the operator's API: its clock, its servers, its queues and its
//! backlog. `wingbeat doctor` reads them.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::future::{join_all, join3, try_join_all};
use schemars::JsonSchema;
use serde::Serialize;

use super::lists::Items;
use crate::app::RunningSubscription;
use crate::http::{Problem, Routes, get};
use crate::run::host::Host;
use crate::run::system::RunningSystem;
use crate::runtime::Control;
use crate::store::Waiting;
use crate::{Error, Name, Result, RuntimeExt as _, Timestamp};

/// The longest wait for a server.
const WITHIN: Duration = Duration::from_secs(3);

/// The tables of due records, and their kinds.
pub(super) const KINDS: [(&str, &str); 5] = [
    ("wb.timer", "timer"),
    ("wb.call", "call"),
    ("wb.parked", "parked"),
    ("wb.waiting", "waiting"),
    ("wb.delayed", "delayed"),
];

pub(super) fn condition_routes() -> Routes<Arc<Host>> {
    Routes::new()
        .route(
            "/process",
            get(process)
                .summary("The clock, the release and the servers of this process")
                .answers::<ProcessCondition>(200),
        )
        .route(
            "/queues",
            get(queues)
                .summary("The queues of the whole system, with their consumers")
                .answers::<Items<QueueCondition>>(200),
        )
        .route(
            "/backlog",
            get(backlog)
                .summary("The records of each service that wait in the store")
                .answers::<Items<ServiceBacklog>>(200),
        )
}

/// A process.
#[derive(Serialize, JsonSchema)]
struct ProcessCondition {
    /// The time of its clock.
    now: Timestamp,
    /// The release of Wingbeat.
    version: &'static str,
    /// The services that it runs.
    services: Vec<&'static str>,
    /// Its servers, asked now.
    servers: Vec<Server>,
}

/// A server of a process.
#[derive(Serialize, JsonSchema)]
struct Server {
    /// `store`, `broker` or `cache`.
    #[schemars(extend("enum" = ["store", "broker", "cache"]))]
    part: &'static str,
    /// It answers, and can be used.
    available: bool,
    /// The code of the error; `null` if it is available.
    code: Option<&'static str>,
    /// The error, for people; `null` if it is available.
    detail: Option<String>,
}

impl Server {
    fn of(part: &'static str, pinged: Option<Result<()>>) -> Self {
        let failed = match pinged {
            Some(Ok(())) => None,
            Some(Err(why)) => Some((why.code(), why.to_string())),
            None => Some(("no_answer", "it does not answer in time".to_owned())),
        };
        let (code, detail) = failed.unzip();
        Self {
            part,
            available: code.is_none(),
            code,
            detail,
        }
    }
}

async fn process(State(host): State<Arc<Host>>) -> Response {
    let ports = host.snapshot().ports;
    let runtime = &ports.runtime;
    let (store, broker, cache) = join3(
        runtime.timeout(WITHIN, ports.store.ping()),
        runtime.timeout(WITHIN, ports.transport.ping()),
        runtime.timeout(WITHIN, ports.cache.ping()),
    )
    .await;
    let servers = vec![
        Server::of("store", store),
        Server::of("broker", broker),
        Server::of("cache", cache),
    ];
    let condition = ProcessCondition {
        now: runtime.now(),
        version: env!("CARGO_PKG_VERSION"),
        services: host.services().collect(),
        servers,
    };
    Json(condition).into_response()
}

/// A queue of the system.
#[derive(Serialize, JsonSchema)]
struct QueueCondition {
    /// The service that subscribes.
    service: String,
    /// The name of the subscription within its service.
    name: String,
    /// Messages that no consumer has received; `null` if the broker does not report the queue.
    waiting: Option<u64>,
    /// Consumers in all processes; `null` if the broker does not report them.
    consumers: Option<u64>,
    /// The subscription runs in this process.
    here: bool,
    /// It is paused here.
    paused: bool,
    /// Its work waits for the rate to which the subscription is limited.
    limited: bool,
    /// The age of the oldest delivery in this process, in seconds.
    oldest_seconds: u64,
}

async fn queues(State(host): State<Arc<Host>>) -> Result<Response, Problem> {
    let system = host.snapshot();
    let names = host.topology().queues.keys();
    let all = names.map(|queue| queue_of(&system, *queue));
    let all = system.ports.runtime.timeout(WITHIN, join_all(all)).await;
    let all = all.ok_or_else(|| unanswered("the broker"))?;
    Ok(Json(Items::from(all)).into_response())
}

async fn queue_of(system: &RunningSystem, queue: Name) -> QueueCondition {
    let transport = &system.ports.transport;
    let (depth, consumers) = (
        transport.depth(queue).await,
        transport.consumers(queue).await,
    );
    let mut here = system.running.iter().flat_map(|it| &it.subscriptions);
    let here = here.find(|it| it.queue == queue);
    let in_flight = here.map_or(0, |it| it.stats.in_flight.load(Ordering::Relaxed));
    let (service, name) = queue
        .as_str()
        .split_once('.')
        .unwrap_or((queue.as_str(), ""));
    QueueCondition {
        service: service.to_owned(),
        name: name.to_owned(),
        waiting: depth.ok().map(|depth| depth.saturating_sub(in_flight)),
        consumers: consumers.ok().flatten(),
        here: here.is_some(),
        paused: here.is_some_and(|it| it.control() == Control::Paused),
        limited: here.is_some_and(|it| it.stats.limited.load(Ordering::Relaxed)),
        oldest_seconds: here.map_or(0, |it| oldest(it, system.ports.runtime.now())),
    }
}

fn oldest(subscription: &RunningSubscription, now: Timestamp) -> u64 {
    match subscription.stats.oldest.load(Ordering::Relaxed) {
        0 => 0,
        sent => now.since(Timestamp::from_micros(sent)).as_secs(),
    }
}

fn unanswered(server: &str) -> Problem {
    let text = format!("{server} does not answer in time");
    Problem::from(Error::retry("servers_unavailable", text))
}

/// The records of a service that wait in the store.
#[derive(Serialize, JsonSchema)]
struct ServiceBacklog {
    /// The service.
    service: Name,
    /// Messages that no broker has confirmed.
    outbox: Overdue,
    /// Records with a due time, by kind.
    due: Vec<DueRecords>,
}

/// A number of records, and the age of the oldest.
#[derive(Serialize, JsonSchema)]
struct Overdue {
    /// The number, at most 10,000, which means 10,000 or more.
    count: u64,
    /// The time that the oldest has waited, in seconds.
    age_seconds: u64,
}

impl From<Waiting> for Overdue {
    fn from(waiting: Waiting) -> Self {
        Self {
            count: waiting.count,
            age_seconds: waiting.age.as_secs(),
        }
    }
}

/// The records of one kind that have a due time.
#[derive(Serialize, JsonSchema)]
struct DueRecords {
    /// `timer`, `call`, `parked`, `waiting` for another release, or `delayed`.
    #[schemars(extend("enum" = ["timer", "call", "parked", "waiting", "delayed"]))]
    kind: &'static str,
    /// All of them, also those due later; at most 10,000.
    pending: u64,
    /// Those that are due and not finished.
    overdue: Overdue,
}

async fn backlog(State(host): State<Arc<Host>>) -> Result<Response, Problem> {
    let system = host.snapshot();
    let (store, runtime) = (&system.ports.store, &system.ports.runtime);
    let services = system.services();
    let asked = services.into_iter().map(async |service| {
        let backlog = store.backlog(service, runtime.now()).await?;
        let due = KINDS.into_iter().filter_map(|(table, kind)| {
            let found = backlog.due.iter().find(|it| it.table.as_str() == table)?;
            Some(DueRecords {
                kind,
                pending: found.pending,
                overdue: found.overdue.into(),
            })
        });
        Ok::<_, Error>(ServiceBacklog {
            service,
            outbox: backlog.outbox.into(),
            due: due.collect(),
        })
    });
    let asked = runtime.timeout(WITHIN, try_join_all(asked)).await;
    let all = asked.ok_or_else(|| unanswered("the store"))??;
    Ok(Json(Items::from(all)).into_response())
}
