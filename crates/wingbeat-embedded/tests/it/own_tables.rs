//! Handlers and HTTP commands that use the service's own tables.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tower::ServiceExt as _;
use wingbeat::TokioRuntime;
use wingbeat::http::{Json, Reply, Routes, accepted, post};
use wingbeat::ports::{Store as _, Transport as _};
use wingbeat::{
    App, Class, Entity, Error, Event, Handler as _, JsonSchema, Name, Result, Retry, Runtime as _,
    Scope, Service, Table, run_unit, schemars,
};
use wingbeat_embedded::{Config, Embedded};

use crate::conformance::number;
use crate::setup;

const TABLES: &str =
    "CREATE TABLE IF NOT EXISTS stock(sku TEXT PRIMARY KEY, free INTEGER NOT NULL)";
const SERVICE: Name = Name::new("inventory");
const FREE: &str = "SELECT free FROM stock";

#[derive(wingbeat::Command, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[command(name = "inventory.take", version = 1, key = order)]
struct Take {
    order: u32,
    sku: String,
}

#[derive(Event, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[event(name = "inventory.taken", version = 1, key = order)]
struct Taken {
    order: u32,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Order {
    taken: u32,
}

impl Entity for Order {
    const NAME: &'static str = "order";
    type Id = u32;
}

/// Takes one item from the stock and writes the order, both or neither.
async fn take(command: &Take, orders: &Table<Order>, unit: &Scope) -> Result<()> {
    let noted = |order: Option<Order>| Order {
        taken: order.unwrap_or_default().taken + 1,
    };
    orders.update(&command.order, noted).await?;
    let sql = "UPDATE stock SET free = free - 1 WHERE sku = $1 AND free > 0";
    unit.sql(sql, [&command.sku]).expect_rows(1)
}

struct Shop {
    directory: TempDir,
    embedded: Arc<Embedded>,
    running: wingbeat::Running,
    runtime: Arc<TokioRuntime>,
    attempts: Arc<AtomicU32>,
}

impl Shop {
    async fn open(retry: Retry) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config::new(directory.path());
        config.tables = TABLES.into();
        let (runtime, embedded) = (TokioRuntime::new(), Embedded::open(&config).unwrap());
        let ports = setup::ports(runtime.clone(), &embedded, directory.path());
        let attempts = Arc::new(AtomicU32::new(0));
        let service = service(retry, &attempts);
        let running = App::new().service(service).start(ports).await.unwrap();
        let shop = Self {
            directory,
            embedded,
            running,
            runtime,
            attempts,
        };
        shop.stock(0).await;
        shop
    }

    async fn stock(&self, free: i64) {
        let context = self.running.service("inventory").unwrap();
        let sql = "INSERT INTO stock VALUES ('egg', $1) ON CONFLICT DO UPDATE SET free = $1";
        let set = |unit: Scope| async move { unit.sql(sql, [free]).expect_rows(1) };
        run_unit::<_, Error, _>(&context, set).await.unwrap();
    }

    async fn send(&self, order: u32) {
        let command = Take {
            order,
            sku: "egg".into(),
        };
        let envelope = wingbeat::ports::published_by("customer", &command, &*self.runtime);
        assert_eq!(self.embedded.publish(vec![envelope]).await, [Ok(())]);
    }

    async fn post(&self, order: u32) -> (StatusCode, serde_json::Value) {
        let body = serde_json::json!({ "order": order, "sku": "egg" });
        let request = Request::post("/take")
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        let response = self.running.routes().oneshot(request).await.unwrap();
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), 1 << 16).await;
        (status, serde_json::from_slice(&body.unwrap()).unwrap())
    }

    async fn order(&self, order: u32) -> Option<Order> {
        let reads = self.running.reads("inventory").unwrap();
        reads.entity::<Order>(&order).await.unwrap()
    }

    async fn until(&self, mut condition: impl AsyncFnMut() -> bool) {
        for _ in 0..2_000 {
            if condition().await {
                return;
            }
            self.runtime.sleep(Duration::from_millis(5)).await;
        }
        panic!("the condition was not met in time");
    }

    fn number(&self, query: &str) -> i64 {
        number(self.directory.path(), query)
    }
}

fn service(retry: Retry, attempts: &Arc<AtomicU32>) -> Service {
    let counted = Arc::clone(attempts);
    let handle = move |command: Take, orders: Table<Order>, unit: Scope| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            take(&command, &orders, &unit).await?;
            Ok::<_, Error>(Taken {
                order: command.order,
            })
        }
    };
    let counted = Arc::clone(attempts);
    let command = move |Json(command): Json<Take>, orders: Table<Order>, unit: Scope| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move {
            take(&command, &orders, &unit).await?;
            Ok::<Reply, Error>(accepted(&command))
        }
    };
    Service::new("inventory")
        .on(handle.retry(retry))
        .routes(Routes::new().route("/take", post(command)))
}

fn retry(quick: u32, parked: &[u64]) -> Retry {
    Retry {
        quick,
        backoff: Duration::from_millis(1),
        parked: parked.iter().copied().map(Duration::from_millis).collect(),
        ..Retry::default()
    }
}

#[tokio::test]
async fn an_unmet_expectation_is_retried_by_the_policy_and_ends_as_a_dead_letter() {
    let shop = Shop::open(retry(3, &[10, 10])).await;
    shop.stock(1).await;
    shop.send(1).await;
    shop.until(async || shop.number(FREE) == 0).await;
    assert_eq!(shop.attempts.swap(0, Ordering::SeqCst), 1);
    shop.send(2).await;
    let letters = async || shop.running.dead_letters(SERVICE).await.unwrap();
    shop.until(async || !letters().await.is_empty()).await;
    let letter = &letters().await[0];
    assert_eq!(letter.reason, "rows_unexpected");
    assert_eq!(letter.error, "statement 1 changed 0 rows, 1 expected");
    assert_eq!((letter.failures.attempts, letter.failures.parked), (9, 2));
    assert_eq!(shop.attempts.load(Ordering::SeqCst), 9);
    assert!(shop.order(1).await.is_some());
    assert!(shop.order(2).await.is_none(), "nothing of it took effect");
    let counters = shop.embedded.counters(SERVICE).await.unwrap();
    let counter = |name: &str| counters.iter().find(|(it, _)| it.as_str() == name);
    let published = counter("published:inventory.taken.v1").expect("one was taken");
    assert_eq!(published.1, 1);
    shop.running.drain().await;
}

#[tokio::test]
async fn an_expectation_that_becomes_true_is_met_by_a_retry() {
    let shop = Shop::open(retry(2, &[20; 200])).await;
    shop.send(1).await;
    shop.until(async || shop.attempts.load(Ordering::SeqCst) > 3)
        .await;
    assert!(shop.order(1).await.is_none());
    shop.stock(5).await;
    shop.until(async || shop.order(1).await.is_some()).await;
    assert_eq!(
        (shop.number(FREE), shop.order(1).await.unwrap().taken),
        (4, 1)
    );
    assert_eq!(shop.running.dead_letters(SERVICE).await.unwrap().len(), 0);
    shop.running.drain().await;
}

#[tokio::test]
async fn a_statement_that_cannot_run_is_refused_at_once() {
    let shop = Shop::open(retry(3, &[10, 10])).await;
    shop.stock(5).await;
    let context = shop.running.service("inventory").unwrap();
    let broken = |unit: Scope| async move { unit.sql("UPDATE nothing SET x = 1", ()).any_rows() };
    let error = run_unit::<_, Error, _>(&context, broken).await.unwrap_err();
    assert_eq!((error.class(), error.code()), (Class::Reject, "refused"));
    let twice = |unit: Scope| async move {
        unit.sql("INSERT INTO stock VALUES ('egg', 1)", ())
            .any_rows()
    };
    let error = run_unit::<_, Error, _>(&context, twice).await.unwrap_err();
    assert_eq!(error.code(), "refused");
    shop.running.drain().await;
}

#[tokio::test]
async fn a_command_with_an_unmet_expectation_is_retried_and_answered_with_409() {
    let shop = Shop::open(retry(3, &[10])).await;
    let (status, problem) = shop.post(1).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert_eq!(problem["code"], "rows_unexpected");
    assert_eq!(problem["detail"], "statement 1 changed 0 rows, 1 expected");
    assert_eq!(shop.attempts.load(Ordering::SeqCst), 3);
    assert!(shop.order(1).await.is_none());
    shop.stock(1).await;
    assert_eq!(shop.post(1).await.0, StatusCode::ACCEPTED);
    assert_eq!(
        (shop.number(FREE), shop.order(1).await.unwrap().taken),
        (0, 1)
    );
    shop.running.drain().await;
}

#[tokio::test]
async fn a_handler_that_refuses_runs_no_statement() {
    let shop = Shop::open(retry(1, &[])).await;
    shop.stock(7).await;
    let context = shop.running.service("inventory").unwrap();
    let refusing = |unit: Scope| async move {
        unit.sql("UPDATE stock SET free = 0", ()).any_rows()?;
        Err::<(), _>(Error::reject("sold_out", "not today"))
    };
    let error = run_unit(&context, refusing).await.unwrap_err();
    assert_eq!(error.code(), "sold_out");
    assert_eq!(shop.number(FREE), 7);
    shop.running.drain().await;
}

/// A handler may keep its `Scope`, but the unit is sealed when the handler returns.
#[tokio::test]
async fn a_scope_records_no_statement_after_its_handler() {
    let shop = Shop::open(retry(1, &[])).await;
    let context = shop.running.service("inventory").unwrap();
    let keep = |unit: Scope| async move {
        unit.sql("UPDATE stock SET free = 3", ()).expect_rows(1)?;
        Ok::<_, Error>(unit)
    };
    let kept = run_unit(&context, keep).await.unwrap();
    let late = kept.sql("UPDATE stock SET free = 99", ()).any_rows();
    assert_eq!(late.unwrap_err().code(), "sealed");
    let error = run_unit(&context, |unit: Scope| async move {
        unit.sql("UPDATE stock SET free = 9 WHERE sku = $1", ["ham"])
            .expect_rows(1)
    });
    let error: Error = error.await.unwrap_err();
    assert_eq!(
        (error.class(), error.code()),
        (Class::Retry, "rows_unexpected")
    );
    assert_eq!(shop.number(FREE), 3);
    shop.running.drain().await;
}
