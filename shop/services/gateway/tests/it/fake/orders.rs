//! The cart, the orders and the live stream of the fake shop. All users share one cart.

use std::convert::Infallible;

use axum::{
    Json,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{
        IntoResponse, Response,
        sse::{Event, Sse},
    },
};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio_stream::wrappers::BroadcastStream;

use super::{Fake, Shop, eur, now, problem};

impl Shop {
    fn cart(&self) -> Value {
        let lines: Vec<_> = self
            .cart
            .iter()
            .filter_map(|(sku, held)| self.line(sku, *held))
            .collect();
        json!({"lines": lines, "total": eur(sum(&lines)), "version": self.cart_version})
    }

    fn line(&self, sku: &str, quantity: i64) -> Option<Value> {
        let product = self.products.iter().find(|product| product["sku"] == sku)?;
        Some(json!({
            "sku": sku, "name": product["name"], "quantity": quantity, "price": product["price"],
        }))
    }
}

fn sum(lines: &[Value]) -> i64 {
    let amount = |line: &Value| line["price"]["amount_minor"].as_i64().unwrap_or_default();
    lines
        .iter()
        .map(|line| amount(line) * line["quantity"].as_i64().unwrap_or_default())
        .sum()
}

pub(super) async fn cart(State(fake): State<Fake>, headers: HeaderMap) -> Response {
    match fake.caller(&headers) {
        Some(_) => Json(fake.shop().cart()).into_response(),
        None => problem(StatusCode::UNAUTHORIZED, "unauthenticated"),
    }
}

pub(super) async fn put_line(
    State(fake): State<Fake>,
    Path(sku): Path<String>,
    Json(body): Json<Value>,
) -> Json<Value> {
    let mut shop = fake.shop();
    shop.cart
        .insert(sku, body["quantity"].as_i64().unwrap_or(1));
    shop.cart_version += 1;
    Json(shop.cart())
}

pub(super) async fn delete_line(State(fake): State<Fake>, Path(sku): Path<String>) -> Json<Value> {
    let mut shop = fake.shop();
    shop.cart.remove(&sku);
    shop.cart_version += 1;
    Json(shop.cart())
}

pub(super) async fn place(
    State(fake): State<Fake>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Response {
    let Some(key) = headers
        .get("idempotency-key")
        .and_then(|key| key.to_str().ok())
    else {
        return problem(StatusCode::BAD_REQUEST, "idempotency_key_missing");
    };
    let mut shop = fake.shop();
    if let Some(answer) = shop.answers.get(key) {
        return (StatusCode::ACCEPTED, Json(answer.clone())).into_response();
    }
    let cart = shop.cart();
    let subtotal = cart["total"]["amount_minor"].as_i64().unwrap_or_default();
    let discount = if body["promo_code"].is_string() {
        (subtotal * 10 + 50) / 100
    } else {
        0
    };
    if body["expected_total"].is_object() && body["expected_total"] != eur(subtotal - discount) {
        return problem(StatusCode::CONFLICT, "price_changed");
    }
    let id = format!(
        "0198f2c4-7b1e-7000-8000-{:012x}",
        0x00a1_b2c3 + shop.orders.len() * 7919
    );
    let order = json!({
        "order_id": id, "status": "placed", "payment_delayed": false, "lines": cart["lines"],
        "subtotal": eur(subtotal), "discount": eur(discount), "total": eur(subtotal - discount),
        "placed_at": now(), "updated_at": now(), "token": body["payment_token"],
        "email": fake_email(&headers),
    });
    shop.orders.insert(0, order.clone());
    shop.cart.clear();
    shop.cart_version += 1;
    shop.answers.insert(key.to_owned(), order.clone());
    drop(shop);
    fake.advance(&id, "placed", None, false);
    (StatusCode::ACCEPTED, Json(order)).into_response()
}

/// Returns the cookie, which stands for the user's address.
fn fake_email(headers: &HeaderMap) -> Value {
    json!(
        headers
            .get("cookie")
            .and_then(|cookie| cookie.to_str().ok())
    )
}

pub(super) async fn list(State(fake): State<Fake>, headers: HeaderMap) -> Response {
    if fake.caller(&headers).is_none() {
        return problem(StatusCode::UNAUTHORIZED, "unauthenticated");
    }
    let shop = fake.shop();
    if shop.unavailable {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable");
    }
    let items: Vec<_> = shop.orders.iter().take(12).collect();
    let next = (shop.orders.len() > 12).then_some("12");
    Json(json!({"items": items, "next_cursor": next})).into_response()
}

pub(super) async fn one(
    State(fake): State<Fake>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    if fake.caller(&headers).is_none() {
        return problem(StatusCode::UNAUTHORIZED, "unauthenticated");
    }
    match fake
        .shop()
        .orders
        .iter()
        .find(|order| order["order_id"] == id)
    {
        Some(order) => Json(order.clone()).into_response(),
        None => problem(StatusCode::NOT_FOUND, "not_found"),
    }
}

pub(super) async fn cancel(State(fake): State<Fake>, Path(id): Path<String>) -> Response {
    let status = fake
        .shop()
        .orders
        .iter()
        .find(|order| order["order_id"] == id)
        .map(|order| order["status"].clone());
    match status {
        Some(Value::String(status)) if matches!(status.as_str(), "shipped" | "completed") => {
            problem(StatusCode::CONFLICT, "not_cancellable")
        }
        Some(_) => {
            fake.advance(&id, "cancelled", None, false);
            (
                StatusCode::ACCEPTED,
                Json(json!({"order_id": id, "status": "cancelled"})),
            )
                .into_response()
        }
        None => problem(StatusCode::NOT_FOUND, "not_found"),
    }
}

pub(super) async fn stream(State(fake): State<Fake>) -> Response {
    let changes = BroadcastStream::new(fake.feed.subscribe()).filter_map(async |change| {
        let event = Event::default()
            .event("order")
            .data(change.ok()?.to_string());
        Some(Ok::<_, Infallible>(event))
    });
    Sse::new(changes).into_response()
}
