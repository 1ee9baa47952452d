//! The timeline of a paid order, up to the current time.

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Fake, now, problem};

/// The items: id, cause, service, kind, name, milliseconds after the order.
const STORY: &str = "\
1 - orders event orders.order_placed.v1 0
2 1 carts event carts.cart_changed.v1 4
3 1 promotions command promotions.reserve_promo.v1 3
4 3 promotions event promotions.promo_reserved.v1 6
5 4 inventory command inventory.reserve_stock.v1 8
6 5 inventory event inventory.stock_reserved.v1 11
7 5 inventory event inventory.stock_level_changed.v1 11
8 6 payments command payments.authorize_payment.v1 13
9 8 payments call provider.authorize 15
10 9 payments event payments.payment_authorized.v1 23
11 10 inventory command inventory.commit_stock.v1 25
12 11 inventory event inventory.stock_committed.v1 29
13 12 payments command payments.capture_payment.v1 31
14 13 payments event payments.payment_captured.v1 42
15 14 orders event orders.order_paid.v1 43
16 15 notifications event notifications.email_sent.v1 61
17 15 shipping command shipping.create_shipment.v1 44
18 17 shipping event shipping.shipment_dispatched.v1 2050
19 18 orders event orders.order_shipped.v1 2053";

pub(super) async fn timeline(State(fake): State<Fake>, Path(id): Path<String>) -> Response {
    let placed = {
        let shop = fake.shop();
        let order = shop.orders.iter().find(|order| order["order_id"] == id);
        order.and_then(|order| order["placed_at"].as_str()?.parse::<Timestamp>().ok())
    };
    let Some(placed) = placed else {
        return problem(StatusCode::NOT_FOUND, "not_found");
    };
    let now = now();
    let items: Vec<_> = STORY
        .lines()
        .filter_map(|line| item(line, placed))
        .collect();
    let past: Vec<_> = items
        .iter()
        .filter(|item| item["at"].as_str() <= Some(&now))
        .collect();
    Json(json!({"items": past})).into_response()
}

fn item(line: &str, placed: Timestamp) -> Option<Value> {
    let mut words = line.split(' ');
    let mut next = || words.next();
    let (id, cause, service, kind, name) = (next()?, next()?, next()?, next()?, next()?);
    let at = placed + SignedDuration::from_millis(next()?.parse().ok()?);
    Some(json!({
        "id": id, "causation_id": cause, "service": service, "kind": kind, "name": name,
        "at": at.to_string(),
    }))
}
