//! Large bodies on RabbitMQ and PostgreSQL, and on a directory that processes share.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};
use wingbeat::bodies::LargeBodies;
use wingbeat::call::HyperClient;
use wingbeat::runtime::TaskGroup;
use wingbeat::test::model::Model;
use wingbeat::{
    App, Entity, Error, Event, JsonSchema, Ports, Result, Running, Service, Table, TokioRuntime,
    run_unit, schemars,
};
use wingbeat_core::Name;
use wingbeat_core::bodies::BodyRef;
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_embedded::FileBodies;
use wingbeat_postgres::Postgres;
use wingbeat_servers::Postgres as PostgresServer;

use crate::conformance::{block_on, open_with, server};
use crate::traffic::{config, until};

/// Several times what RabbitMQ is given.
const LARGE: usize = 5 << 20;
const ARCHIVE: Name = Name::new("archive");

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "docs.scanned", version = 1, key = doc)]
struct Scanned {
    doc: String,
    pages: String,
}

#[derive(Clone, Default, PartialEq, Debug, Serialize, Deserialize)]
struct Received {
    times: u32,
    size: usize,
}

impl Entity for Received {
    const NAME: &'static str = "received";
    type Id = String;
}

async fn receive(event: Scanned, table: Table<Received>) -> Result<()> {
    let change = |before: Option<Received>| Received {
        times: before.unwrap_or_default().times + 1,
        size: event.pages.len(),
    };
    table.update(&event.doc, change).await.map(drop)
}

fn docs() -> App {
    App::new().service(Service::new("docs").publishes::<Scanned>())
}

fn subscribers(full: &Arc<AtomicBool>) -> App {
    let full = Arc::clone(full);
    let archive = move |event: Scanned, table: Table<Received>| {
        let full = full.load(Ordering::SeqCst);
        async move {
            if full {
                return Err(Error::reject("full", "the shelves are full"));
            }
            receive(event, table).await
        }
    };
    App::new()
        .service(Service::new("index").on(receive))
        .service(Service::new("archive").on(archive))
}

/// Both servers, and the settings that the processes of a test share.
struct Servers {
    broker: wingbeat_rabbitmq::Config,
    store: wingbeat_postgres::Config,
    postgres: PostgresServer,
    runtime: Arc<TokioRuntime>,
}

struct Process {
    tasks: Arc<TaskGroup>,
    running: Running,
}

impl Servers {
    fn start() -> Self {
        let postgres = PostgresServer::start();
        let mut store = wingbeat_postgres::Config::new(postgres.url());
        store.connections_max = 4;
        Self {
            broker: config(server()),
            store,
            postgres,
            runtime: TokioRuntime::new(),
        }
    }

    async fn process(&self, app: App) -> Process {
        let tasks = TaskGroup::new(self.runtime.clone());
        let runtime: SharedRuntime = tasks.clone();
        let store = Postgres::connect(&self.store, runtime.clone()).await;
        let ports = Ports {
            runtime: tasks.clone(),
            store: store.unwrap(),
            transport: open_with(&self.broker, &runtime).await,
            cache: Model::new(runtime.clone()).cache,
            http: HyperClient::new(),
        };
        let running = app.allow_unknown_owners().start(ports).await.unwrap();
        Process { tasks, running }
    }
}

impl Process {
    async fn publish(&self, doc: &str) {
        let scanned = Scanned {
            doc: doc.into(),
            pages: "p".repeat(LARGE),
        };
        let service = self.running.service("docs").unwrap();
        let published = run_unit(&service, |scope| {
            let scanned = scanned.clone();
            async move { scope.publish(&scanned) }
        });
        published.await.unwrap();
    }

    async fn received(&self, service: &str) -> Received {
        let reads = self.running.reads(service).unwrap();
        let received = reads.entity::<Received>(&"a".to_owned()).await;
        received.unwrap().unwrap_or_default()
    }

    async fn until_received(&self, service: &str) {
        let once = Received {
            times: 1,
            size: LARGE,
        };
        until("the document is received once, and whole", async || {
            self.received(service).await == once
        })
        .await;
    }
}

/// One process publishes, another subscribes twice. One subscription refuses the document. Its
/// process is killed, and the dead letter is retried in the next one.
async fn story(servers: &Servers, on: impl Fn(App) -> App) {
    let full = Arc::new(AtomicBool::new(true));
    let subscriber = servers.process(on(subscribers(&full))).await;
    let publisher = servers.process(on(docs())).await;
    publisher.publish("a").await;
    subscriber.until_received("index").await;
    until("the archive has a dead letter", async || {
        let letters = subscriber.running.dead_letters(ARCHIVE).await;
        letters.unwrap().len() == 1
    })
    .await;
    subscriber.tasks.kill().await;
    full.store(false, Ordering::SeqCst);
    let subscriber = servers.process(on(subscribers(&full))).await;
    let letters = subscriber.running.dead_letters(ARCHIVE).await.unwrap();
    let message = letters[0].message().unwrap();
    assert!(BodyRef::of(&message.body).is_some(), "it has a reference");
    let retried = subscriber.running.retry_dead_letter(ARCHIVE, letters[0].id);
    assert!(retried.await.unwrap());
    subscriber.until_received("archive").await;
    publisher.running.drain().await;
    subscriber.running.drain().await;
}

#[test]
fn a_large_body_in_postgresql_reaches_every_subscriber_once() {
    block_on(async {
        let servers = Servers::start();
        story(&servers, |app| app).await;
        let stored = servers
            .postgres
            .sql("SELECT octet_length(body) FROM wingbeat_bodies.body");
        let size: usize = stored.trim().parse().expect("one body");
        assert!(size > LARGE, "{size}");
    });
}

#[test]
fn a_large_body_in_a_shared_directory_reaches_every_subscriber_once() {
    block_on(async {
        let servers = Servers::start();
        let directory = tempfile::tempdir().unwrap();
        let of = |path: &Path| Some(LargeBodies::new(FileBodies::new(path)));
        story(&servers, |app| app.large_bodies(of(directory.path()))).await;
        let stored = servers
            .postgres
            .sql("SELECT to_regclass('wingbeat_bodies.body') IS NULL");
        assert_eq!(stored.trim(), "t", "PostgreSQL is not used");
    });
}
