//! Sagas in the operator's API: their number in each state, and pages of instances.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wingbeat_core::store::Position;

use super::lists::Items;
use crate::http::{Cursor, Path, Problem, Query, Routes, get, ok};
use crate::run::host::Host;
use crate::saga::{SagaRecord, counted, table};
use crate::{Name, Reads, Timestamp, decode};

/// The default number of instances on a page.
const LIMIT: usize = 20;
/// The largest number of instances on a page.
const LIMIT_MAX: usize = 100;

pub(super) fn saga_routes() -> Routes<Arc<Host>> {
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
                .problem(404, "not_found", "No instance of such a saga was started.")
                .problem(
                    400,
                    "bad_cursor",
                    "The cursor does not belong to this list.",
                ),
        )
}

/// The instances of a saga by state.
#[derive(Serialize, JsonSchema)]
struct Sagas {
    /// The service.
    service: Name,
    /// The saga.
    saga: &'static str,
    /// The number in each state; `ended` counts all that ever ended.
    states: BTreeMap<&'static str, i64>,
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
            saga,
            states: BTreeMap::new(),
        });
        if count > 0 {
            entry.states.insert(state, count);
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
}

/// A page of instances.
#[derive(Serialize, JsonSchema)]
struct InstancePage {
    /// The instances.
    items: Vec<Instance>,
    /// The cursor of the next page; `null` on the last page.
    next_cursor: Option<Cursor>,
}

/// An instance of a saga.
#[derive(Serialize, JsonSchema)]
struct Instance {
    /// Its id: the key of its inputs.
    id: String,
    /// It has ended.
    ended: bool,
    /// The wire types of its pending timers.
    timers: Vec<String>,
    /// The time of its last change.
    updated_at: Timestamp,
    /// Its state, as it is stored.
    state: Value,
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
    if !host.services().any(|it| it == service) {
        return Err(Problem::not_found());
    }
    let reads = host.reads(&service)?;
    let list = format!("sagas/{service}/{saga}");
    let after = query.cursor.map(|cursor| cursor.position(&list));
    let after = after.transpose()?.map(|position| position.key);
    // A name becomes permanent once it is used, so only names of existing sagas are.
    let counters = reads.counters().await?;
    let known = counters.iter().filter_map(|(name, _)| counted(*name));
    let known = known.map(|(name, _)| name).find(|name| *name == saga);
    let table = table(known.ok_or_else(Problem::not_found)?);
    // One more shows whether there is a next page.
    let mut records = reads.service().store.scan(table, after, limit + 1).await?;
    let more = records.len() > limit;
    records.truncate(limit);
    let decoded = records.into_iter().map(|(id, record)| {
        let record: SagaRecord<Value> = decode(&record.body)?;
        Ok(Instance {
            id,
            ended: record.ended,
            timers: record.timers,
            updated_at: record.updated_at,
            state: record.state,
        })
    });
    let items: Vec<Instance> = decoded.collect::<crate::Result<_>>()?;
    let last = items.last().filter(|_| more).map(|instance| Position {
        value: String::new(),
        key: instance.id.clone(),
    });
    let page = InstancePage {
        next_cursor: last.map(|position| Cursor::new(&list, &position)),
        items,
    };
    Ok(ok(&page).into_response())
}
