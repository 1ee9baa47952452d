//! Sagas in the operator's API: their number in each state, pages of instances, and one of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;
use wingbeat_core::Key;
use wingbeat_core::store::Position;

use super::lists::{Items, Replicated};
use crate::http::{Cursor, Path, Problem, Query, Routes, get, ok};
use crate::run::host::Host;
use crate::saga::{SagaRecord, counted, table, timer_key};
use crate::state::masked;
use crate::unit::PastSaga;
use crate::{Name, Reads, Timestamp, decode};

/// The default number of instances on a page.
const LIMIT: usize = 20;
/// The largest number of instances on a page.
const LIMIT_MAX: usize = 100;
/// The instances that are read at once.
const CHUNK: usize = 200;
/// The largest number of instances that are read for a page. A page of one state can thus be short
/// and have a next one.
const READ_MAX: usize = 2_000;

pub(super) fn saga_routes() -> Routes<Arc<Host>> {
    let missing = "No instance of such a saga was started.";
    Routes::new()
        .route(
            "/sagas",
            get(sagas)
                .summary("The sagas of all services, with their number in each state")
                .answers::<Items<Sagas>>(200),
        )
        .route(
            "/sagas/{service}/{saga}",
            get(instances)
                .summary("The instances of a saga, in the order of their ids")
                .answers::<InstancePage>(200)
                .problem(404, "not_found", missing)
                .problem(
                    400,
                    "bad_cursor",
                    "The cursor does not belong to this list.",
                ),
        )
        .route(
            "/sagas/{service}/{saga}/{id}",
            get(instance)
                .summary("One instance of a saga: its state, and what it waits for")
                .answers::<WholeInstance>(200)
                .problem(404, "not_found", "There is no such instance."),
        )
}

/// The instances of a saga by state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Sagas {
    /// The service.
    pub service: Name,
    /// The saga.
    pub saga: String,
    /// The number in each state; `ended` counts all that ever ended.
    pub states: BTreeMap<String, i64>,
}

impl Replicated for Sagas {
    fn is(&self, other: &Self) -> bool {
        (self.service, &self.saga) == (other.service, &other.saga)
    }

    /// Replicas share the store.
    fn join(&mut self, _: Self) {}
}

async fn sagas(State(host): State<Arc<Host>>) -> Result<Response, Problem> {
    let mut items = Vec::new();
    for running in host.running() {
        for service in running.services().collect::<Vec<_>>() {
            if let Some(reads) = running.reads(service.as_str()) {
                items.extend(of_service(service, &reads).await?);
            }
        }
    }
    Ok(ok(&Items::from(items)).into_response())
}

async fn of_service(service: Name, reads: &Reads) -> crate::Result<Vec<Sagas>> {
    let mut all = BTreeMap::<&str, Sagas>::new();
    for (counter, count) in reads.counters().await? {
        let Some((saga, state)) = counted(counter) else {
            continue;
        };
        let entry = all.entry(saga).or_insert_with(|| Sagas {
            service,
            saga: saga.to_owned(),
            states: BTreeMap::new(),
        });
        if count > 0 {
            entry.states.insert(state.to_owned(), count);
        }
    }
    Ok(all.into_values().collect())
}

/// The query of the list of instances.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct InstanceQuery {
    /// The `next_cursor` of the previous page.
    cursor: Option<Cursor>,
    /// The number of instances on the page.
    #[schemars(range(min = 1, max = 100), extend("default" = LIMIT))]
    limit: Option<usize>,
    /// Only instances in this state; `ended` for those that have ended.
    in_state: Option<String>,
}

/// A page of instances. A page of one state may have fewer items than its limit, and yet a next
/// page, because 2,000 instances are read for it at most.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct InstancePage {
    /// The instances.
    pub items: Vec<Instance>,
    /// The cursor of the next page; `null` on the last page.
    pub next_cursor: Option<Cursor>,
}

/// An instance of a saga.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "SagaInstance")]
#[non_exhaustive]
pub struct Instance {
    /// Its id: the key of its inputs.
    pub id: String,
    /// The name of its state; `ended` if it has ended, `unknown` if this release cannot tell.
    pub in_state: String,
    /// It has ended.
    pub ended: bool,
    /// The wire types of its pending timers.
    pub timers: Vec<String>,
    /// The time of its last change.
    pub updated_at: Timestamp,
    /// The correlation id of its story; `null` if an older release has started it.
    pub story: Option<Uuid>,
    /// Its state, as it is stored. Encrypted personal values are masked.
    pub state: Value,
}

/// An instance of a saga, and what it waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "SagaWhole")]
#[non_exhaustive]
pub struct WholeInstance {
    /// The instance.
    #[serde(flatten)]
    pub instance: Instance,
    /// Its pending timers.
    pub pending: Vec<PendingTimer>,
    /// The wire types of the messages that can move it, without its timers. Empty once it has
    /// ended.
    pub waits_for: Vec<String>,
}

/// A pending timer of a saga.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "SagaTimer")]
#[non_exhaustive]
pub struct PendingTimer {
    /// The wire type.
    pub message: String,
    /// The time at which it is due; `null` if it has fired and failed: it is parked or a dead
    /// letter.
    pub due_at: Option<Timestamp>,
}

/// A saga of which instances are read.
struct Of {
    reads: Reads,
    table: Name,
    /// `None` if this release has no such saga.
    known: Option<PastSaga>,
}

impl Of {
    /// Finds a saga of which an instance was started.
    async fn find(host: &Host, service: &str, saga: &str) -> Result<Self, Problem> {
        if !host.services().any(|it| it == service) {
            return Err(Problem::not_found());
        }
        let reads = host.reads(service)?;
        // A name becomes permanent once it is used, so only names of existing sagas are.
        let counters = reads.counters().await?;
        let started = counters.iter().filter_map(|(name, _)| counted(*name));
        let started = started.map(|(name, _)| name).find(|name| *name == saga);
        let table = table(started.ok_or_else(Problem::not_found)?);
        let known = reads.service().past.sagas.get(table.as_str()).copied();
        Ok(Self {
            reads,
            table,
            known,
        })
    }

    fn instance(&self, id: String, body: &[u8]) -> crate::Result<Instance> {
        let record: SagaRecord<Value> = decode(body)?;
        let name = self.known.and_then(|it| (it.state)(body).ok());
        Ok(Instance {
            id,
            in_state: match name {
                Some(name) => name.to_owned(),
                None if record.ended => "ended".to_owned(),
                None => "unknown".to_owned(),
            },
            ended: record.ended,
            timers: record.timers,
            updated_at: record.updated_at,
            story: record.story.map(|story| story.0),
            state: masked(record.state),
        })
    }

    /// Returns instances after the id `after`, and the id after which the next page starts.
    async fn page(
        &self,
        mut after: Option<String>,
        limit: usize,
        in_state: Option<&str>,
    ) -> crate::Result<(Vec<Instance>, Option<String>)> {
        let (mut items, mut read) = (Vec::new(), 0);
        let chunk = if in_state.is_some() { CHUNK } else { limit + 1 };
        loop {
            let store = &self.reads.service().store;
            let records = store.scan(self.table, after.clone(), chunk).await?;
            let is_last = records.len() < chunk;
            for (id, record) in records {
                if items.len() == limit || read == READ_MAX {
                    return Ok((items, after));
                }
                read += 1;
                after = Some(id.clone());
                let instance = self.instance(id, &record.body)?;
                if in_state.is_none_or(|wanted| wanted == instance.in_state) {
                    items.push(instance);
                }
            }
            if is_last {
                return Ok((items, None));
            }
        }
    }
}

async fn instances(
    State(host): State<Arc<Host>>,
    Path((service, saga)): Path<(String, String)>,
    Query(query): Query<InstanceQuery>,
) -> Result<Response, Problem> {
    let limit = query.limit.unwrap_or(LIMIT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Problem::invalid("/limit", "1 to 100"));
    }
    let of = Of::find(&host, &service, &saga).await?;
    let list = format!("sagas/{service}/{saga}");
    let after = query.cursor.map(|cursor| cursor.position(&list));
    let after = after.transpose()?.map(|position| position.key);
    let (items, next) = of.page(after, limit, query.in_state.as_deref()).await?;
    let next = next.map(|key| Position {
        value: String::new(),
        key,
    });
    let page = InstancePage {
        next_cursor: next.map(|position| Cursor::new(&list, &position)),
        items,
    };
    Ok(ok(&page).into_response())
}

async fn instance(
    State(host): State<Arc<Host>>,
    Path((service, saga, id)): Path<(String, String, String)>,
) -> Result<Response, Problem> {
    let of = Of::find(&host, &service, &saga).await?;
    let store = &of.reads.service().store;
    let record = store.load(&Key::new(of.table, id.clone())).await?;
    let record = record.ok_or_else(Problem::not_found)?;
    let instance = of.instance(id, &record.body)?;
    let mut pending = Vec::new();
    for message in &instance.timers {
        let Some(saga) = of.known else { break };
        let timer = timer_key(saga.queue, &instance.id, message);
        let timer = store.load(&timer).await?;
        pending.push(PendingTimer {
            message: message.clone(),
            due_at: timer.and_then(|timer| timer.due_at),
        });
    }
    let waiting = of.known.filter(|_| !instance.ended);
    let waits_for = waiting.map_or_else(Vec::new, |saga| (saga.inputs)());
    let whole = WholeInstance {
        waits_for: waits_for.into_iter().map(str::to_owned).collect(),
        pending,
        instance,
    };
    Ok(ok(&whole).into_response())
}
