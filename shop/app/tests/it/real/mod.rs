//! The real shop in this process: real sockets, a data directory of its own, and where it is compiled as
//! `real_on_servers` also RabbitMQ, PostgreSQL and Redis.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test of the real thing lives by the real clock, and ends where something is missing"
)]

mod admin;
mod audit;
mod corrupt;
mod http;
mod letters;
mod place;
mod raw;
mod sessions;
mod stream;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use shop::settings::{Settings, Sources};
use shop::{Open, start};

use place::Place;
pub(crate) use raw::Reply;

/// How long something awaited may take.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A shop, and where it keeps its data.
pub(crate) struct Shop {
    pub(crate) open: Open,
    place: Place,
}

/// Settings for a shop of a test: free ports, quick parcels.
fn settings(place: &Place) -> Settings {
    let mut flags = BTreeMap::from([
        ("listen", "127.0.0.1:0".to_owned()),
        ("ops_listen", "127.0.0.1:0".to_owned()),
        ("data", place.data.display().to_string()),
        ("shipping_dispatch_after", "50ms".to_owned()),
        ("shipping_deliver_after", "50ms".to_owned()),
    ]);
    flags.extend(place.servers.iter().cloned());
    let sources = Sources {
        flags,
        env: BTreeMap::new(),
        file: None,
    };
    sources.settings().expect("they are right")
}

impl Shop {
    pub(crate) async fn open() -> Self {
        let place = tokio::task::block_in_place(Place::new);
        let open = start(&settings(&place)).await.expect("it opens");
        Self { open, place }
    }

    /// Closes the shop and opens it again on the same data.
    pub(crate) async fn again(self) -> Self {
        let Self { open, place } = self;
        open.close().await;
        // The last tasks let go of the store a moment after they were told to.
        for _ in 0..200 {
            if let Ok(open) = start(&settings(&place)).await {
                return Self { open, place };
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("the data stays in use");
    }

    /// A signed-in shopper's token.
    pub(crate) async fn shopper(&self) -> String {
        let made = self.post("/dev/shoppers", "", &json!({"count": 1})).await;
        made.json()["items"][0]["token"]
            .as_str()
            .expect("a token")
            .to_owned()
    }

    /// The admin's token.
    pub(crate) async fn admin(&self) -> String {
        let password = std::fs::read_to_string(self.place.data.join("admin-password"));
        let form = json!({"email": "admin@shop.example", "password": password.expect("it is there").trim()});
        let session = self.post("/api/v1/sessions", "", &form).await;
        session.json()["token"]
            .as_str()
            .expect("a token")
            .to_owned()
    }

    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        raw::ask(self.open.address, method, path, headers, body).await
    }

    /// A JSON request of whoever has the token.
    pub(crate) async fn call(&self, method: &str, path: &str, token: &str, body: &Value) -> Reply {
        let bearer = format!("Bearer {token}");
        let mut headers = vec![("content-type", "application/json")];
        if !token.is_empty() {
            headers.push(("authorization", &bearer));
        }
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        self.ask(method, path, &headers, &body).await
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Reply {
        self.call("GET", path, token, &Value::Null).await
    }

    pub(crate) async fn post(&self, path: &str, token: &str, body: &Value) -> Reply {
        self.call("POST", path, token, body).await
    }

    /// Places an order under this key.
    pub(crate) async fn place(&self, token: &str, key: &str, order: &Value) -> Reply {
        let bearer = format!("Bearer {token}");
        let headers = [
            ("content-type", "application/json"),
            ("authorization", bearer.as_str()),
            ("idempotency-key", key),
        ];
        self.ask("POST", "/api/v1/orders", &headers, &order.to_string())
            .await
    }

    /// Waits until an order has one of these statuses, and returns the order.
    pub(crate) async fn wait(&self, token: &str, id: &str, statuses: &[&str]) -> Value {
        let until = tokio::time::Instant::now() + SOON;
        loop {
            let order = self
                .get(&format!("/api/v1/orders/{id}"), token)
                .await
                .json();
            if order["status"]
                .as_str()
                .is_some_and(|status| statuses.contains(&status))
            {
                return order;
            }
            assert!(tokio::time::Instant::now() < until, "{order}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Places orders, one after the other, and waits until they are completed; their ids.
    pub(crate) async fn completed(&self, token: &str, count: usize) -> Vec<String> {
        let mut ids = Vec::new();
        for number in 0..count {
            let placed = self
                .place(token, &format!("key-{number}"), &order("tok_ok"))
                .await;
            assert_eq!(placed.status, 202, "{placed:?}");
            ids.push(
                placed.json()["order_id"]
                    .as_str()
                    .expect("an id")
                    .to_owned(),
            );
        }
        for id in &ids {
            self.wait(token, id, &["completed"]).await;
        }
        ids
    }
}

/// An order of one bell.
pub(crate) fn order(card: &str) -> Value {
    json!({
        "items": [{"sku": "WB-BELL-01", "quantity": 1}],
        "payment_token": card,
        "address": address(),
    })
}

pub(crate) fn address() -> Value {
    json!({"line1": "1 Nowhere Lane", "city": "Erewhon", "postal_code": "0", "country": "XX"})
}
