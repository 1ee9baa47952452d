//! An order's timeline: what every service did in its story, causes before effects.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Router, extract, routing};
use serde::{Deserialize, Serialize};
use shop_contracts::OrderId;
use shop_orders::views::OrderRow;
use uuid::Uuid;
use wingbeat::http::{Caller, Problem, Routes, get, ok};
use wingbeat::scope::Entry;
use wingbeat::{CorrelationId, JsonSchema, Result, Timestamp, schemars};

use crate::Host;

/// The route.
pub fn routes(host: Arc<Host>) -> Router {
    described().with_state(host).into_router()
}

/// The route, without the services that it asks.
pub(crate) fn described() -> Routes<Arc<Host>> {
    Routes::new().route(
        "/api/v1/orders/{id}/timeline",
        get(timeline)
            .tag("orders")
            .summary("The messages, timers and calls of all services for an order")
            .answers::<Timeline>(200)
            .problem(404, "not_found", "The caller has no such order."),
    )
}

/// For the gateway: what this process's services did in a story. The gateway hands no request of the outside on
/// to `/internal`.
pub fn internal(host: Arc<Host>) -> Router {
    Router::new()
        .route("/internal/stories/{id}", routing::get(told))
        .with_state(host)
}

async fn told(
    State(host): State<Arc<Host>>,
    extract::Path(id): extract::Path<Uuid>,
) -> Result<Response, Problem> {
    let (items, away) = story(&host, CorrelationId(id)).await;
    Ok(ok(&Timeline { items, away }).into_response())
}

/// A step of a story.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "TimelineItem")]
pub struct Item {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub service: String,
    /// `event`, `command`, `timer` or `call`.
    #[schemars(extend("enum" = ["event", "command", "timer", "call"]))]
    pub kind: String,
    /// Its type.
    pub name: String,
    /// Its id.
    pub id: Uuid,
    /// What caused it.
    pub causation_id: Option<Uuid>,
}

/// What happened, as far as it is known.
#[derive(Default, Serialize, Deserialize, JsonSchema)]
pub struct Timeline {
    /// The steps.
    pub items: Vec<Item>,
    /// Services that could not be asked: what they did is missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub away: Vec<String>,
}

async fn timeline(
    State(host): State<Arc<Host>>,
    Caller(session): Caller,
    extract::Path(id): extract::Path<String>,
) -> Result<Response, Problem> {
    let order: OrderId = id.parse().map_err(|_| Problem::not_found())?;
    let row = host
        .reads("orders")?
        .row::<OrderRow>(&order.to_string())
        .await?;
    let row = row.filter(|row| row.user_id.0 == session.user_id || session.admin);
    row.ok_or_else(Problem::not_found)?;
    let (items, away) = story(&host, CorrelationId(order.0)).await;
    Ok(ok(&Timeline { items, away }).into_response())
}

/// What every service did in a story, and which could not be asked.
pub async fn story(host: &Host, story: CorrelationId) -> (Vec<Item>, Vec<String>) {
    let (mut items, mut away) = (Vec::new(), Vec::new());
    for service in host.services() {
        let told: Result<Vec<Entry>> = async { host.reads(service)?.story(story).await }.await;
        match told {
            Ok(entries) => items.extend(entries.into_iter().map(|entry| item(service, entry))),
            Err(_) => away.push(service.to_owned()),
        }
    }
    (in_order(items), away)
}

fn item(service: &str, entry: Entry) -> Item {
    Item {
        at: entry.at,
        service: service.into(),
        kind: entry.kind,
        name: entry.name,
        id: entry.id,
        causation_id: entry.causation_id,
    }
}

/// By time, but never an effect before its cause, whatever the clocks said.
pub(crate) fn in_order(mut items: Vec<Item>) -> Vec<Item> {
    items.sort_by_key(|item| (item.at, item.id));
    let mut pending: BTreeSet<Uuid> = items.iter().map(|item| item.id).collect();
    let mut waiting = BTreeMap::<Uuid, Vec<Item>>::new();
    let mut ordered = Vec::with_capacity(items.len());
    for item in items {
        match item.causation_id.filter(|cause| pending.contains(cause)) {
            Some(cause) if cause != item.id => waiting.entry(cause).or_default().push(item),
            _ => {
                let mut ready = vec![item];
                while let Some(next) = ready.pop() {
                    pending.remove(&next.id);
                    let effects = waiting.remove(&next.id).unwrap_or_default();
                    ready.extend(effects.into_iter().rev());
                    ordered.push(next);
                }
            }
        }
    }
    ordered.extend(waiting.into_values().flatten()); // Causes in a circle: shown all the same.
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(at: i64, id: u128, cause: Option<u128>) -> Item {
        Item {
            at: Timestamp::from_micros(at),
            service: "orders".into(),
            kind: "event".into(),
            name: format!("{id}"),
            id: Uuid::from_u128(id),
            causation_id: cause.map(Uuid::from_u128),
        }
    }

    fn names(items: Vec<Item>) -> Vec<String> {
        in_order(items).into_iter().map(|item| item.name).collect()
    }

    #[test]
    fn an_effect_never_comes_before_its_cause() {
        let items = vec![step(3, 1, None), step(1, 2, Some(1)), step(2, 3, Some(2))];
        assert_eq!(names(items), ["1", "2", "3"]);
    }

    #[test]
    fn a_cause_that_is_not_here_is_waited_for_in_vain() {
        let items = vec![step(2, 1, Some(9)), step(1, 2, None)];
        assert_eq!(names(items), ["2", "1"]);
    }

    #[test]
    fn causes_in_a_circle_are_shown_all_the_same() {
        let items = vec![
            step(1, 1, Some(2)),
            step(2, 2, Some(1)),
            step(3, 3, Some(3)),
        ];
        assert_eq!(names(items).len(), 3);
    }
}
