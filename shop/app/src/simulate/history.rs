//! What the clients were told, against what is: nothing answered is forgotten, nothing is invented.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use shop_contracts::{OrderId, OrderStatus};
use shop_orders::domain::Order;
use wingbeat::test::Violation;
use wingbeat::test::simulator::{Answer, Exchange};

/// How far along an order is, as shown to its owner.
fn rank(status: &str) -> u8 {
    match status {
        "placed" => 0,
        "stock_reserved" => 1,
        "payment_authorized" => 2,
        "paid" => 3,
        "cancelling" => 4,
        "shipped" => 5,
        _ => 6,
    }
}

fn is_placing(exchange: &Exchange) -> bool {
    exchange.ask.method == "POST" && exchange.ask.path == "/api/v1/orders"
}

/// Everything that the clients' memories and the orders say against each other.
pub(super) fn check(history: &[Exchange], orders: &BTreeMap<OrderId, Order>) -> Vec<Violation> {
    let mut broken = same_key_same_answer(history);
    broken.extend(accepted_and_no_more(history, orders));
    broken.extend(never_backwards(history));
    broken.extend(own_writes(history));
    broken
}

/// The same idempotency key has one answer.
fn same_key_same_answer(history: &[Exchange]) -> Vec<Violation> {
    let mut answers = BTreeMap::<(usize, &str), &Value>::new();
    let mut broken = Vec::new();
    for exchange in history.iter().filter(|it| is_placing(it)) {
        let Answer::Status(202, body) = &exchange.answer else {
            continue;
        };
        let key = (exchange.client, exchange.ask.key.as_str());
        let first = *answers.entry(key).or_insert(body);
        if first != body {
            let detail = format!("{first} and then {body}");
            broken.push(Violation::new("one key, one answer", key.1, detail));
        }
    }
    broken
}

/// What was answered 202 is there; what is there was asked for, at most once a key.
fn accepted_and_no_more(history: &[Exchange], orders: &BTreeMap<OrderId, Order>) -> Vec<Violation> {
    let mut broken = Vec::new();
    let mut accepted = BTreeSet::new();
    let mut open = BTreeSet::new();
    for exchange in history.iter().filter(|it| is_placing(it)) {
        let key = (exchange.client, exchange.ask.key.as_str());
        match &exchange.answer {
            Answer::Status(202, body) => {
                let id = body["order_id"].as_str().unwrap_or_default();
                accepted.insert((key, id.to_owned()));
                open.remove(&key);
                if !id.parse().is_ok_and(|id| orders.contains_key(&id)) {
                    broken.push(Violation::new("nothing accepted is forgotten", id, "gone"));
                }
            }
            Answer::Unknown | Answer::Status(503, _) => {
                if !accepted.iter().any(|(of, _)| *of == key) {
                    open.insert(key);
                }
            }
            Answer::Status(..) | Answer::Unreachable => {}
        }
    }
    let known: BTreeSet<&String> = accepted.iter().map(|(_, id)| id).collect();
    let unknown = orders.keys().filter(|id| !known.contains(&id.to_string()));
    let unknown: Vec<_> = unknown.collect();
    if unknown.len() > open.len() {
        let detail = format!(
            "{} orders nobody was told of, from {} unanswered requests",
            unknown.len(),
            open.len()
        );
        broken.push(Violation::new("nothing is invented", unknown[0], detail));
    }
    broken
}

/// A status that was seen is never followed by an earlier one.
fn never_backwards(history: &[Exchange]) -> Vec<Violation> {
    let mut seen = BTreeMap::<&str, (u8, &str)>::new();
    let mut broken = Vec::new();
    for exchange in history.iter().filter(|it| it.ask.method == "GET") {
        let body = exchange.answer.body();
        let (Some(id), Some(status)) = (body["order_id"].as_str(), body["status"].as_str()) else {
            continue;
        };
        let now = (rank(status), status);
        let before = *seen.entry(id).or_insert(now);
        if now.0 < before.0 || (before.0 == 6 && now.1 != before.1) {
            let detail = format!("{} and then {status}", before.1);
            broken.push(Violation::new("a status never goes back", id, detail));
        }
        seen.insert(id, now);
    }
    broken
}

/// An order that was answered is found by its owner from then on.
fn own_writes(history: &[Exchange]) -> Vec<Violation> {
    let mut told = BTreeSet::new();
    let mut broken = Vec::new();
    for exchange in history {
        if is_placing(exchange) && exchange.answer.status() == 202 {
            let id = exchange.answer.body()["order_id"].as_str();
            told.insert(format!("/api/v1/orders/{}", id.unwrap_or_default()));
        }
        if exchange.answer.status() == 404 && told.contains(&exchange.ask.path) {
            let detail = "its owner was told of it, and then that there is none";
            broken.push(Violation::new(
                "own writes are seen",
                &exchange.ask.path,
                detail,
            ));
        }
    }
    broken
}

/// Orders that were called off, and their owners were told that it would be seen to.
pub(super) fn called_off(history: &[Exchange]) -> BTreeSet<OrderId> {
    let accepted = history
        .iter()
        .filter(|it| it.ask.method == "POST" && it.answer.status() == 202);
    let orders = accepted.filter_map(|exchange| {
        let path = exchange.ask.path.strip_prefix("/api/v1/orders/")?;
        path.strip_suffix("/cancel")?.parse().ok()
    });
    orders.collect()
}

/// Every order has reached one of its ends.
pub(super) fn ended(orders: &BTreeMap<OrderId, Order>) -> Vec<Violation> {
    let open = orders.iter().filter(|(_, order)| !order.is_ended());
    open.map(|(id, order)| {
        let detail = format!("it rests as {:?}", order.status());
        Violation::new("every order ends", id, detail)
    })
    .collect()
}

/// How much of each SKU the completed orders took.
pub(super) fn sold(orders: &BTreeMap<OrderId, Order>) -> BTreeMap<String, i64> {
    let mut sold = BTreeMap::new();
    let completed = orders
        .values()
        .filter(|order| order.status() == OrderStatus::Completed);
    for placed in completed.filter_map(|order| order.placed.as_ref()) {
        for line in &placed.lines {
            *sold.entry(line.sku.to_string()).or_default() += i64::from(line.quantity);
        }
    }
    sold
}

/// How much of each SKU the admin was told to have put on the shelf.
pub(super) fn stocked(history: &[Exchange]) -> BTreeMap<String, i64> {
    let mut keys = BTreeSet::new();
    let mut stocked = BTreeMap::new();
    for exchange in history {
        let Some(sku) = exchange.ask.path.strip_prefix("/api/v1/admin/stock/") else {
            continue;
        };
        if exchange.answer.status() == 202 && keys.insert(exchange.ask.key.clone()) {
            let delta = exchange.ask.body["delta"].as_i64().unwrap_or(0);
            *stocked.entry(sku.to_owned()).or_default() += delta;
        }
    }
    stocked
}
