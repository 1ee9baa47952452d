//! The requests that several tests send.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use serde_json::{Value, json};

use super::raw::{self, Reply};
use crate::wait::{check, until};

/// The shop's Redis.
#[derive(Clone, Copy, Debug)]
pub struct Cache {
    /// Its port.
    pub port: u16,
    /// The number of the database.
    pub database: usize,
}

/// The HTTP API of a shop under test.
pub struct Api {
    /// Its address.
    pub address: SocketAddr,
    /// The admin's password.
    pub admin_password: String,
    /// The shop's Redis, if it has one.
    pub cache: Option<Cache>,
}

impl Api {
    /// Creates a shopper and returns their token.
    pub async fn shopper(&self) -> String {
        let created = self.post("/dev/shoppers", "", &json!({"count": 1})).await;
        text(&created.json()["items"][0]["token"])
    }

    /// Signs the admin in and returns the token.
    pub async fn admin(&self) -> String {
        let form = json!({"email": "admin@shop.example", "password": self.admin_password});
        let session = self.post("/api/v1/sessions", "", &form).await;
        text(&session.json()["token"])
    }

    /// Sends a request.
    pub async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Reply {
        raw::ask(self.address, method, path, headers, body).await
    }

    /// Sends a JSON request with a token, or without one if it is empty.
    pub async fn call(&self, method: &str, path: &str, token: &str, body: &Value) -> Reply {
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

    /// Sends a `GET`.
    pub async fn get(&self, path: &str, token: &str) -> Reply {
        self.call("GET", path, token, &Value::Null).await
    }

    /// Sends a `POST`.
    pub async fn post(&self, path: &str, token: &str, body: &Value) -> Reply {
        self.call("POST", path, token, body).await
    }

    /// Places an order under this key.
    pub async fn place(&self, token: &str, key: &str, order: &Value) -> Reply {
        let bearer = format!("Bearer {token}");
        let headers = [
            ("content-type", "application/json"),
            ("authorization", bearer.as_str()),
            ("idempotency-key", key),
        ];
        self.ask("POST", "/api/v1/orders", &headers, &order.to_string())
            .await
    }

    /// Places an order that is accepted, and returns its id.
    pub async fn placed(&self, token: &str, key: &str, order: &Value) -> String {
        let placed = self.place(token, key, order).await;
        assert_eq!(placed.status, 202, "{placed:?}");
        text(&placed.json()["order_id"])
    }

    /// Waits until the JSON at a path fulfils a condition, and returns it.
    pub async fn until(&self, path: &str, token: &str, holds: impl Fn(&Value) -> bool) -> Value {
        until(path, async || {
            let found = self.get(path, token).await.json();
            check(holds(&found), &found).map(|()| found)
        })
        .await
    }

    /// Waits until an order has one of these statuses, and returns the order.
    pub async fn wait(&self, token: &str, id: &str, statuses: &[&str]) -> Value {
        let is_one = |order: &Value| {
            order["status"]
                .as_str()
                .is_some_and(|it| statuses.contains(&it))
        };
        self.until(&format!("/api/v1/orders/{id}"), token, is_one)
            .await
    }

    /// Places orders, waits until they are completed, and returns their ids.
    pub async fn completed(&self, token: &str, count: usize) -> Vec<String> {
        let mut ids = Vec::new();
        for number in 0..count {
            let key = format!("key-{number}");
            ids.push(self.placed(token, &key, &order("tok_ok")).await);
        }
        for id in &ids {
            self.wait(token, id, &["completed"]).await;
        }
        ids
    }

    /// Returns whether Redis has the key; `None` without a Redis.
    #[must_use]
    pub fn has_key(&self, key: &str) -> Option<bool> {
        let Cache { port, database } = self.cache?;
        let mut socket = TcpStream::connect(("127.0.0.1", port)).expect("Redis listens");
        let commands = format!("SELECT {database}\r\nEXISTS {key}\r\n");
        socket.write_all(commands.as_bytes()).unwrap();
        let mut answer = [0; 9];
        socket.read_exact(&mut answer).unwrap();
        Some(answer == *b"+OK\r\n:1\r\n")
    }
}

fn text(value: &Value) -> String {
    let text = value.as_str();
    text.unwrap_or_else(|| panic!("no text: {value}"))
        .to_owned()
}

/// An order of one bell, paid with this card.
#[must_use]
pub fn order(card: &str) -> Value {
    json!({
        "items": [{"sku": "WB-BELL-01", "quantity": 1}],
        "payment_token": card,
        "address": address(),
    })
}

/// An address that does not exist.
#[must_use]
pub fn address() -> Value {
    json!({"line1": "1 Nowhere Lane", "city": "Erewhon", "postal_code": "0", "country": "XX"})
}

/// An email address that no other test uses.
pub(super) fn new_email() -> String {
    format!("Ada{:032x}@b.example", fastrand::u128(..))
}
