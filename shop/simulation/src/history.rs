//! Compares the answers that clients got with the stored orders: none is lost, none is unexplained.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use shop_contracts::{OrderId, OrderStatus, UserId};
use shop_orders::domain::Order;
use wingbeat::test::Violation;
use wingbeat::test::simulator::{Answer, Exchange};

/// Returns the progress of an order, as its owner sees it.
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

/// Returns all contradictions between the answers and the orders.
pub(super) fn check(history: &[Exchange], orders: &BTreeMap<OrderId, Order>) -> Vec<Violation> {
    let mut broken = same_key_same_answer(history);
    broken.extend(accepted_and_no_more(history, orders));
    broken.extend(never_backwards(history));
    broken.extend(own_writes(history));
    broken
}

/// Checks that all answers under one idempotency key are equal.
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

/// Checks that accepted orders exist, and that each existing order was requested, once for each
/// key.
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
            "{} orders without a response to a client, but only {} unanswered requests",
            unknown.len(),
            open.len()
        );
        broken.push(Violation::new("nothing is invented", unknown[0], detail));
    }
    broken
}

/// Checks that the status of an order never goes back.
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

/// Checks that an owner finds an accepted order from then on.
fn own_writes(history: &[Exchange]) -> Vec<Violation> {
    let mut told = BTreeSet::new();
    let mut broken = Vec::new();
    for exchange in history {
        if is_placing(exchange) && exchange.answer.status() == 202 {
            let id = exchange.answer.body()["order_id"].as_str();
            told.insert(format!("/api/v1/orders/{}", id.unwrap_or_default()));
        }
        if exchange.answer.status() == 404 && told.contains(&exchange.ask.path) {
            let detail = "its owner got it accepted, and later a 404";
            broken.push(Violation::new(
                "own writes are seen",
                &exchange.ask.path,
                detail,
            ));
        }
    }
    broken
}

/// Returns the users whose erasure was accepted, with their clients.
pub(super) fn erased(history: &[Exchange]) -> BTreeMap<UserId, usize> {
    let accepted = history.iter().filter(|it| {
        it.ask.method == "DELETE" && it.ask.path == "/api/v1/me" && it.answer.status() == 202
    });
    let users = accepted.filter_map(|exchange| {
        let user = exchange.answer.body()["user_id"].as_str()?.parse().ok()?;
        Some((user, exchange.client))
    });
    users.collect()
}

/// Checks that nobody signs in to an account whose erasure was accepted.
pub(super) fn stays_erased(history: &[Exchange]) -> Vec<Violation> {
    let mut gone = BTreeSet::new();
    let mut broken = Vec::new();
    for exchange in history {
        match (
            exchange.ask.method,
            exchange.ask.path.as_str(),
            exchange.answer.status(),
        ) {
            ("DELETE", "/api/v1/me", 202) => drop(gone.insert(exchange.client)),
            ("POST", "/api/v1/sessions", 201) if gone.contains(&exchange.client) => {
                let detail = "its client signed in again";
                broken.push(Violation::new(
                    "an account stays closed",
                    exchange.client,
                    detail,
                ));
            }
            _ => {}
        }
    }
    broken
}

/// Returns the orders whose cancellation was accepted.
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

/// Checks that every order has ended.
pub(super) fn ended(orders: &BTreeMap<OrderId, Order>) -> Vec<Violation> {
    let open = orders.iter().filter(|(_, order)| !order.is_ended());
    open.map(|(id, order)| {
        let detail = format!("it remains {:?}", order.status());
        Violation::new("every order ends", id, detail)
    })
    .collect()
}

/// Returns the sold quantity of each SKU.
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

/// Returns the quantity of each SKU that the administrator added to the stock.
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

/// Returns whether a request lists a product, or creates a flash sale.
fn is_of_the_assortment(exchange: &Exchange) -> bool {
    let (method, path) = (exchange.ask.method, exchange.ask.path.as_str());
    (method == "PUT" && path.starts_with("/api/v1/admin/products/"))
        || (method == "POST" && path == "/api/v1/admin/flash-sales")
}

/// Checks that no request of the administrator is refused: the simulation makes none that could be.
pub(super) fn refused(history: &[Exchange]) -> Vec<Violation> {
    let requests = history.iter().filter(|it| is_of_the_assortment(it));
    let refused = requests.filter(|it| matches!(it.answer.status(), 400 | 404 | 409 | 413 | 422));
    let broken = refused.map(|it| {
        let detail = format!("{} {}", it.answer.status(), it.answer.body());
        Violation::new("a valid request is accepted", &it.ask.path, detail)
    });
    broken.collect()
}

/// Returns the price of each SKU whose last offer was accepted, in cents.
pub(super) fn offered(history: &[Exchange]) -> BTreeMap<String, i64> {
    let mut offered = BTreeMap::new();
    for exchange in history.iter().filter(|it| it.ask.method == "PUT") {
        let Some(sku) = exchange.ask.path.strip_prefix("/api/v1/admin/products/") else {
            continue;
        };
        let price = exchange.ask.body["price"]["amount_minor"].as_i64();
        match (exchange.answer.status(), price) {
            (200, Some(price)) => drop(offered.insert(sku.to_owned(), price)),
            // It may have taken effect.
            _ => drop(offered.remove(sku)),
        }
    }
    offered
}
