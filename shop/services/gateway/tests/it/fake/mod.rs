//! An in-memory fake of the shop's HTTP API, complete enough to render all pages without services.
//!
//! Orders change only by [`Fake::advance`]. The example `storefront` calls it by the clock, the
//! tests call it directly.

mod orders;
mod seed;
mod timeline;
mod users;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Json, Router,
    extract::{Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use serde_json::{Value, json};
use tokio::sync::broadcast;

pub(crate) use seed::eur;

/// The fake shop. Clones share their state.
#[derive(Clone)]
pub(crate) struct Fake {
    state: Arc<Mutex<Shop>>,
    feed: broadcast::Sender<Value>,
}

/// The state of the fake shop.
#[derive(Default)]
pub(crate) struct Shop {
    pub(crate) products: Vec<Value>,
    /// The users, by session token.
    users: BTreeMap<String, Value>,
    cart: BTreeMap<String, i64>,
    cart_version: u64,
    pub(crate) orders: Vec<Value>,
    answers: BTreeMap<String, Value>,
    mails: Vec<Value>,
    pub(crate) faults: Value,
    /// `true` if each read of products and orders returns 503.
    pub(crate) unavailable: bool,
}

impl Fake {
    pub(crate) fn new() -> Self {
        let shop = Shop {
            products: seed::products(),
            ..Shop::default()
        };
        Self {
            state: Arc::new(Mutex::new(shop)),
            feed: broadcast::channel(64).0,
        }
    }

    pub(crate) fn shop(&self) -> MutexGuard<'_, Shop> {
        self.state
            .lock()
            .expect("no test panics while it holds the lock")
    }

    /// Builds the routes of the API and of `/dev`.
    pub(crate) fn router(&self) -> Router {
        Router::new()
            .route("/api/v1/products", get(products))
            .route("/api/v1/users", post(users::sign_up))
            .route("/api/v1/sessions", post(users::sign_in))
            .route(
                "/api/v1/sessions/current",
                axum::routing::delete(users::sign_out),
            )
            .route("/api/v1/me", get(users::me).delete(users::close))
            .route("/api/v1/promotions", get(users::promotions))
            .route("/api/v1/cart", get(orders::cart))
            .route(
                "/api/v1/cart/items/{sku}",
                put(orders::put_line).delete(orders::delete_line),
            )
            .route("/api/v1/orders", get(orders::list).post(orders::place))
            .route("/api/v1/orders/{id}", get(orders::one))
            .route("/api/v1/orders/{id}/timeline", get(timeline::timeline))
            .route("/api/v1/orders/{id}/cancel", post(orders::cancel))
            .route("/api/v1/stream", get(orders::stream))
            .route("/dev/mailbox", get(mailbox))
            .route("/dev/provider/faults", put(faults))
            .with_state(self.clone())
    }

    /// Changes an order and sends the change to the streams.
    pub(crate) fn advance(&self, id: &str, status: &str, reason: Option<&str>, delayed: bool) {
        let mut shop = self.shop();
        let Some(order) = shop.orders.iter_mut().find(|order| order["order_id"] == id) else {
            return;
        };
        order["status"] = json!(status);
        order["reason"] = json!(reason);
        order["payment_delayed"] = json!(delayed);
        order["updated_at"] = json!(now());
        let change = order.clone();
        drop(shop);
        let _ = self.feed.send(change); // No stream is open.
    }

    pub(crate) fn mail(&self, to: &Value, template: &str, subject: &str, body: &str) {
        self.shop().mails.push(json!({
            "to": to, "template": template, "subject": subject, "body": body, "at": now(),
        }));
    }
}

/// Returns the current time in the form of the API.
#[expect(
    clippy::disallowed_methods,
    reason = "a fake for browsers uses the real clock"
)]
pub(crate) fn now() -> String {
    jiff::Timestamp::now().to_string()
}

/// Returns a problem (RFC 9457).
fn problem(status: StatusCode, code: &str) -> Response {
    let body = json!({"status": status.as_u16(), "code": code, "detail": code});
    (
        status,
        [("content-type", "application/problem+json")],
        body.to_string(),
    )
        .into_response()
}

async fn products(
    State(fake): State<Fake>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let shop = fake.shop();
    if shop.unavailable {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "unavailable");
    }
    let number = |name: &str, default| {
        query
            .get(name)
            .map_or(Ok(default), |text| text.parse::<usize>())
    };
    let Ok(start) = number("cursor", 0) else {
        return problem(StatusCode::BAD_REQUEST, "bad_cursor");
    };
    let limit = number("limit", 20).unwrap_or(20);
    let search = query
        .get("search")
        .map(|text| text.to_lowercase())
        .unwrap_or_default();
    let named = |product: &&Value| {
        product["name"]
            .as_str()
            .is_some_and(|name| name.to_lowercase().contains(&search))
    };
    let found: Vec<_> = shop.products.iter().filter(named).collect();
    let items: Vec<_> = found.iter().skip(start).take(limit).collect();
    let next = (start + limit < found.len()).then(|| (start + limit).to_string());
    Json(json!({"items": items, "next_cursor": next})).into_response()
}

async fn mailbox(
    State(fake): State<Fake>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Json<Value> {
    let to = query.get("to").cloned().unwrap_or_default();
    let shop = fake.shop();
    let items: Vec<_> = shop.mails.iter().filter(|mail| mail["to"] == to).collect();
    Json(json!({"items": items}))
}

async fn faults(State(fake): State<Fake>, Json(faults): Json<Value>) -> Json<Value> {
    fake.shop().faults = faults.clone();
    Json(faults)
}
