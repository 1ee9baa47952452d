//! Handlers with an open transaction, while the server terminates backends.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wingbeat::Ports;
use wingbeat::TokioRuntime;
use wingbeat::call::HyperClient;
use wingbeat::ports::Store as _;
use wingbeat::test::model::Model;
use wingbeat::{
    App, CorrelationId, Either, Entity, Event, Handler as _, JsonSchema, Name, Result, Retry,
    Running, Runtime as _, RuntimeExt as _, Scope, Service, Table, schemars,
};
use wingbeat_postgres::{Config, Postgres};
use wingbeat_servers::Postgres as Server;

use crate::conformance::block_on;

const SERVICE: Name = Name::new("inventory");
/// Number of orders, and of eggs, which suffice for most of them.
const ORDERS: u32 = 120;
const EGGS: u32 = 90;
const TABLES: &str = "
    CREATE TABLE stock(sku text PRIMARY KEY, free int NOT NULL CHECK (free >= 0));
    CREATE TABLE taken(number int PRIMARY KEY);";

#[derive(wingbeat::Command, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[command(name = "inventory.take", version = 1, key = number)]
struct Take {
    number: u32,
}

#[derive(Event, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[event(name = "inventory.taken", version = 1, key = number)]
struct Taken {
    number: u32,
}

#[derive(Event, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[event(name = "inventory.sold_out", version = 1, key = number)]
struct SoldOut {
    number: u32,
}

/// An entity that ten orders share, so that attempts conflict.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Shelf {
    asked: u32,
}

impl Entity for Shelf {
    const NAME: &'static str = "shelf";
    type Id = u32;
}

async fn take(
    Take { number }: Take,
    shelves: Table<Shelf>,
    unit: Scope,
    database: Arc<Postgres>,
) -> Result<Either<Taken, SoldOut>> {
    let asked = |shelf: Option<Shelf>| Shelf {
        asked: shelf.unwrap_or_default().asked + 1,
    };
    shelves.update(&(number % 12), asked).await?;
    let transaction = database.begin().await?;
    let lock = "SELECT free FROM stock WHERE sku = $1 FOR UPDATE";
    let free: i32 = transaction.query_one(lock, ["egg"]).await?.get(0);
    if free == 0 {
        return Ok(Either::Right(SoldOut { number }));
    }
    transaction
        .execute("UPDATE stock SET free = free - 1 WHERE sku = $1", ["egg"])
        .await?;
    transaction
        .execute("INSERT INTO taken VALUES ($1)", [number])
        .await?;
    unit.commit_in(transaction)?;
    Ok(Either::Left(Taken { number }))
}

async fn start(
    server: &Server,
    model: &Model,
    runtime: &Arc<TokioRuntime>,
) -> (Arc<Postgres>, Running) {
    let database = Postgres::connect(&Config::new(server.url()), runtime.clone()).await;
    let database = database.expect("the server takes connections");
    let ports = Ports {
        runtime: runtime.clone(),
        store: database.clone(),
        transport: model.transport.clone(),
        cache: model.cache.clone(),
        http: HyperClient::new(),
    };
    let own = Arc::clone(&database);
    let handle = move |command: Take, shelves: Table<Shelf>, unit: Scope| {
        take(command, shelves, unit, Arc::clone(&own))
    };
    let retry = Retry {
        quick: 12,
        backoff: Duration::from_millis(1),
        parked: vec![Duration::from_millis(20); 500],
        ..Retry::default()
    };
    let service = Service::new("inventory").on(handle.retry(retry));
    let running = App::new()
        .service(service)
        .allow_unknown_owners()
        .start(ports)
        .await;
    (database, running.unwrap_or_else(|why| panic!("{why}")))
}

/// Each order takes one egg or none. However often and at whatever step connections are lost, no
/// egg is taken twice, and tables, records and messages agree.
#[test]
fn transactions_of_handlers_take_effect_once_while_backends_are_terminated() {
    block_on(async {
        let server = Arc::new(Server::start());
        server.sql(TABLES);
        server.sql(&format!("INSERT INTO stock VALUES ('egg', {EGGS})"));
        let runtime = TokioRuntime::new();
        let model = Model::new(runtime.clone());
        let (database, running) = start(&server, &model, &runtime).await;
        for number in 0..ORDERS {
            let story = CorrelationId(runtime.id());
            model.publish(story, &Take { number }).await;
        }
        let terminating = Arc::clone(&server);
        let terminating = tokio::task::spawn_blocking(move || {
            for _ in 0..12 {
                terminating.terminate_backends();
            }
        });
        terminating.await.unwrap();
        let counted = async |name: &str| {
            let counters = database.counters(SERVICE).await.unwrap_or_default();
            let found = counters.iter().find(|(it, _)| it.as_str() == name);
            found.map_or(0, |(_, count)| *count)
        };
        for _ in 0..4_000 {
            if counted("handled:inventory.take").await >= i64::from(ORDERS) {
                break;
            }
            runtime.sleep(Duration::from_millis(5)).await;
        }
        let counts = [
            counted("handled:inventory.take").await,
            counted("published:inventory.taken.v1").await,
            counted("published:inventory.sold_out.v1").await,
        ];
        assert_eq!(counts, [ORDERS, EGGS, ORDERS - EGGS].map(i64::from));
        let tables = "SELECT (SELECT free FROM stock), (SELECT count(*) FROM taken)";
        assert_eq!(server.sql(tables).trim(), format!("0|{EGGS}"));
        let shelves = running.reads("inventory").unwrap();
        let shelves = shelves.entities::<Shelf>(None, 100).await.unwrap();
        assert_eq!(
            shelves.iter().map(|(_, shelf)| shelf.asked).sum::<u32>(),
            ORDERS
        );
        let letters = running.dead_letters(SERVICE).await.unwrap();
        assert_eq!(letters.len(), 0, "{letters:?}");
        running.drain().await;
    });
}
