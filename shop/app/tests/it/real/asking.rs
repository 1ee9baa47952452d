//! What all tests over HTTP ask of a shop, wherever it is.

use std::time::Duration;

use serde_json::{Value, json};

use super::raw::{self, Reply};
use super::{Shop, documented};

/// How long something awaited may take.
pub(crate) const SOON: Duration = Duration::from_secs(60);

impl Shop {
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
        let form = json!({"email": "admin@shop.example", "password": self.admin_password()});
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
        let reply = raw::ask(self.address(), method, path, headers, body).await;
        documented::check(self.address(), method, path, &reply).await;
        reply
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
