//! The provider over its socket.
#![allow(clippy::disallowed_methods, reason = "tests of an external system")]

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use shop_provider::{Config, Provider};
use uuid::Uuid;

struct Bank {
    provider: Provider,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Bank {
    async fn open(directory: &std::path::Path) -> Self {
        let config = Config {
            listen: ([127, 0, 0, 1], 0).into(),
            ledger: directory.join("ledger.db"),
        };
        let provider = shop_provider::start(config).await.expect("starts");
        Self {
            provider,
            client: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    async fn send(
        &self,
        method: &str,
        path: &str,
        key: &str,
        body: &Value,
    ) -> Option<(u16, Value)> {
        let request = hyper::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.provider.url()))
            .header("content-type", "application/json")
            .header("idempotency-key", key)
            .body(Full::from(if body.is_null() {
                String::new()
            } else {
                body.to_string()
            }))
            .expect("a request");
        let response = self.client.request(request).await.ok()?;
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.ok()?.to_bytes();
        Some((status, serde_json::from_slice(&body).unwrap_or(Value::Null)))
    }

    async fn authorize(&self, order: Uuid, key: &str, token: &str) -> Option<(u16, Value)> {
        let body =
            json!({ "order_id": order, "amount_minor": 500, "currency": "EUR", "token": token });
        self.send("POST", "/v1/authorizations", key, &body).await
    }

    async fn capture(&self, order: Uuid, key: &str) -> Option<(u16, Value)> {
        let body = json!({ "order_id": order, "amount_minor": 500, "currency": "EUR" });
        self.send("POST", "/v1/captures", key, &body).await
    }

    async fn kinds(&self, order: Uuid) -> Vec<String> {
        let (_, ledger) = self
            .send(
                "GET",
                &format!("/v1/ledger?order_id={order}"),
                "-",
                &Value::Null,
            )
            .await
            .expect("a ledger");
        let items = ledger["items"].as_array().expect("items").clone();
        items
            .iter()
            .map(|item| item["kind"].as_str().expect("a kind").to_owned())
            .collect()
    }
}

fn status(answer: &Option<(u16, Value)>) -> (u16, &str) {
    let (code, body) = answer.as_ref().expect("an answer");
    (*code, body["status"].as_str().unwrap_or_default())
}

fn order() -> Uuid {
    Uuid::from_u128(fastrand::u128(..))
}

#[tokio::test]
async fn a_repeated_key_books_once_and_gets_the_recorded_reply() {
    let directory = tempfile::tempdir().unwrap();
    let bank = Bank::open(directory.path()).await;
    let order = order();
    assert_eq!(
        status(&bank.authorize(order, "a", "tok_ok").await),
        (200, "authorized")
    );
    for _ in 0..3 {
        assert_eq!(status(&bank.capture(order, "c").await), (200, "captured"));
    }
    assert_eq!(bank.kinds(order).await, ["authorize", "capture"]);
}

/// An audit reads the ledger in ranges of orders, so that it never needs all of it.
#[tokio::test]
async fn the_ledger_is_read_in_ranges_of_orders() {
    let directory = tempfile::tempdir().unwrap();
    let bank = Bank::open(directory.path()).await;
    let orders = [1, 2, 3].map(Uuid::from_u128);
    for (number, order) in [2, 0, 1].into_iter().map(|at| (at, orders[at])) {
        bank.authorize(order, &format!("a{number}"), "tok_ok").await;
    }
    let read = async |query: &str| {
        let path = format!("/v1/ledger?{query}");
        let answer = bank.send("GET", &path, "-", &Value::Null).await;
        let (_, ledger) = answer.expect("a ledger");
        let items = ledger["items"].as_array().expect("items").iter();
        let of = |item: &Value| item["order_id"].as_str().map(str::to_owned);
        let mut found: Vec<Uuid> = items
            .filter_map(of)
            .filter_map(|id| id.parse().ok())
            .collect();
        found.sort_unstable();
        found
    };
    let [first, second, third] = orders;
    assert_eq!(read("").await, orders);
    assert_eq!(read(&format!("through={first}")).await, [first]);
    let range = format!("beyond={first}&through={second}");
    assert_eq!(read(&range).await, [second]);
    assert_eq!(read(&format!("beyond={second}")).await, [third]);
    assert_eq!(read(&format!("beyond={third}")).await, Vec::<Uuid>::new());
}

#[tokio::test]
async fn a_client_that_loses_its_key_is_booked_twice() {
    let directory = tempfile::tempdir().unwrap();
    let bank = Bank::open(directory.path()).await;
    let order = order();
    bank.authorize(order, "a", "tok_ok").await;
    bank.capture(order, "c1").await;
    bank.capture(order, "c2").await;
    assert_eq!(bank.kinds(order).await, ["authorize", "capture", "capture"]);
}

#[tokio::test]
async fn a_key_with_another_request_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let bank = Bank::open(directory.path()).await;
    bank.authorize(order(), "k", "tok_ok").await;
    assert_eq!(status(&bank.authorize(order(), "k", "tok_ok").await).0, 422);
}

#[tokio::test]
async fn the_operation_of_a_lost_reply_is_booked_and_can_be_queried() {
    let directory = tempfile::tempdir().unwrap();
    let bank = Bank::open(directory.path()).await;
    let order = order();
    assert_eq!(bank.authorize(order, "a", "tok_lost_reply").await, None);
    assert_eq!(
        status(
            &bank
                .send("GET", "/v1/operations/a", "-", &Value::Null)
                .await
        ),
        (200, "authorized")
    );
    assert_eq!(
        status(&bank.authorize(order, "a", "tok_lost_reply").await),
        (200, "authorized")
    );
    assert_eq!(bank.kinds(order).await, ["authorize"]);
}

#[tokio::test]
async fn a_flaky_token_fails_twice_and_then_succeeds() {
    let directory = tempfile::tempdir().unwrap();
    let bank = Bank::open(directory.path()).await;
    let order = order();
    for expected in [503, 503, 200] {
        assert_eq!(
            status(&bank.authorize(order, "a", "tok_flaky").await).0,
            expected
        );
    }
}

#[tokio::test]
async fn a_declined_card_is_a_reply_and_moves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let bank = Bank::open(directory.path()).await;
    let order = order();
    assert_eq!(
        status(&bank.authorize(order, "a", "tok_declined").await),
        (200, "declined")
    );
    assert_eq!(status(&bank.capture(order, "c").await), (200, "refused"));
    assert!(bank.kinds(order).await.is_empty());
}

#[tokio::test]
async fn an_unknown_token_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let bank = Bank::open(directory.path()).await;
    assert_eq!(
        status(&bank.authorize(order(), "a", "tok_nonsense").await).0,
        422
    );
}

#[tokio::test]
async fn an_outage_refuses_operations_and_leaves_the_ledger_unchanged() {
    let directory = tempfile::tempdir().unwrap();
    let bank = Bank::open(directory.path()).await;
    let order = order();
    let faults = |faults: Value| async move { faults };
    bank.send(
        "PUT",
        "/v1/faults",
        "-",
        &faults(json!({ "outage": true })).await,
    )
    .await;
    assert_eq!(status(&bank.authorize(order, "a", "tok_ok").await).0, 503);
    assert!(bank.kinds(order).await.is_empty());
    assert_eq!(
        bank.send("PUT", "/v1/faults", "-", &json!({}))
            .await
            .unwrap()
            .0,
        200
    );
    assert_eq!(
        status(&bank.authorize(order, "a", "tok_ok").await),
        (200, "authorized")
    );
    assert_eq!(
        bank.send("PUT", "/v1/faults", "-", &json!({ "error_rate": 7 }))
            .await
            .unwrap()
            .0,
        422
    );
    assert_eq!(
        bank.send("PUT", "/v1/faults", "-", &json!({ "nonsense": 1 }))
            .await
            .unwrap()
            .0,
        422
    );
}

/// serde alone reads a struct from an array, field by field.
#[tokio::test]
async fn an_array_is_no_object() {
    let directory = tempfile::tempdir().unwrap();
    let bank = Bank::open(directory.path()).await;
    let order = order();
    for (method, path, body) in [
        ("POST", "/v1/authorizations", json!([order, 500, "tok_ok"])),
        ("POST", "/v1/captures", json!([order, 500, "tok_ok"])),
        ("PUT", "/v1/faults", json!([true])),
    ] {
        let (status, _) = bank.send(method, path, "a", &body).await.unwrap();
        assert_eq!(status, 422, "{path}");
    }
    assert!(bank.kinds(order).await.is_empty());
}

#[tokio::test]
async fn the_ledger_survives_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let order = order();
    let bank = Bank::open(directory.path()).await;
    bank.authorize(order, "a", "tok_ok").await;
    drop(bank);
    let bank = Bank::open(directory.path()).await;
    assert_eq!(bank.kinds(order).await, ["authorize"]);
    assert_eq!(status(&bank.capture(order, "c").await), (200, "captured"));
}

#[tokio::test]
async fn concurrent_operations_share_commits() {
    let directory = tempfile::tempdir().unwrap();
    let bank = std::sync::Arc::new(Bank::open(directory.path()).await);
    let tasks: Vec<_> = (0..200)
        .map(|n| {
            let bank = std::sync::Arc::clone(&bank);
            tokio::spawn(async move { bank.authorize(order(), &n.to_string(), "tok_ok").await })
        })
        .collect();
    for task in tasks {
        assert_eq!(status(&task.await.unwrap()), (200, "authorized"));
    }
    let stats = bank.provider.stats();
    assert_eq!(stats.operations, 200);
    assert!(stats.commits < 200, "{stats:?}");
}
