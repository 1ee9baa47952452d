//! A subscription from the beginning on RabbitMQ and PostgreSQL, with two replicas of each service
//! that are killed and replaced while it receives the past.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wingbeat::call::HyperClient;
use wingbeat::runtime::TaskGroup;
use wingbeat::test::model::Model;
use wingbeat::{
    Aggregate, App, Entity, Error, Event, Handler as _, Happened, JsonSchema, Meta, Ports, Repo,
    Result, Running, Service, Table, TokioRuntime, run_unit, schemars,
};
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_postgres::Postgres;
use wingbeat_servers::Postgres as PostgresServer;

use crate::conformance::{block_on, open_with, server};
use crate::traffic::{config, until};

/// The aggregates, and the events of each before the subscription exists.
const COUNTERS: usize = 30;
const PAST: usize = 40;

#[derive(Event, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[event(name = "counting.counted", version = 1, key = counter)]
struct Counted {
    counter: String,
    count: u64,
}

#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
struct Counter {
    count: u64,
}

impl Aggregate for Counter {
    const NAME: &'static str = "counter";
    type Id = String;
    type Command = ();
    type Event = ();
    type Error = Error;

    fn decide(&self, (): ()) -> Result<Vec<()>> {
        Ok(vec![()])
    }

    fn apply(&mut self, (): &()) {
        self.count += 1;
    }
}

/// A counter as the subscriber knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Shown {
    events: u64,
    replayed: u64,
    disorder: bool,
}

impl Entity for Shown {
    const NAME: &'static str = "shown";
    type Id = String;
}

async fn show(event: Counted, meta: Meta, counters: Table<Shown>) -> Result<()> {
    let shown = |shown: Option<Shown>| {
        let shown = shown.unwrap_or_default();
        Shown {
            events: shown.events + 1,
            replayed: shown.replayed + u64::from(meta.replayed),
            // The past comes in order, and before anything else.
            disorder: shown.disorder || (meta.replayed && event.count != shown.events + 1),
        }
    };
    counters.update(&event.counter, shown).await.map(drop)
}

fn counting() -> App {
    let counting = Service::new("counting").publishes_history(|it: Happened<'_, Counter>| {
        Some(Counted {
            counter: it.id.into(),
            count: it.state.count,
        })
    });
    App::new().service(counting)
}

fn watching() -> App {
    App::new().service(Service::new("watching").on(show.from_beginning()))
}

/// Both servers, and the settings that the processes of a test share.
pub(crate) struct Servers {
    pub(crate) broker: wingbeat_rabbitmq::Config,
    store: wingbeat_postgres::Config,
    _postgres: PostgresServer,
    pub(crate) runtime: Arc<TokioRuntime>,
}

pub(crate) struct Process {
    pub(crate) tasks: Arc<TaskGroup>,
    pub(crate) running: Running,
}

impl Servers {
    pub(crate) fn start() -> Self {
        let postgres = PostgresServer::start();
        let mut store = wingbeat_postgres::Config::new(postgres.url());
        store.connections_max = 4;
        Self {
            broker: config(server()),
            store,
            _postgres: postgres,
            runtime: TokioRuntime::new(),
        }
    }

    pub(crate) async fn process(&self, app: App) -> Process {
        let tasks = TaskGroup::new(self.runtime.clone());
        let runtime: SharedRuntime = tasks.clone();
        let ports = Ports {
            runtime: tasks.clone(),
            store: Postgres::connect(&self.store, runtime.clone())
                .await
                .unwrap(),
            transport: open_with(&self.broker, &runtime).await,
            cache: Model::new(runtime.clone()).cache,
            http: HyperClient::new(),
        };
        let running = app.allow_unknown_owners().start(ports).await.unwrap();
        Process { tasks, running }
    }

    /// Kills a process and starts another one.
    pub(crate) async fn replace(&self, process: &mut Process, app: App) {
        process.tasks.kill().await;
        *process = self.process(app).await;
    }
}

impl Process {
    /// Counts each counter once.
    async fn count(&self) {
        let service = self.running.service("counting").unwrap();
        for number in 0..COUNTERS {
            let counted = run_unit(&service, |scope| async move {
                let counters = Repo::<Counter>::of(&scope);
                counters.execute(&number.to_string(), ()).await?.map(drop)
            });
            counted.await.unwrap();
        }
    }

    /// The number of replayed events, and whether the replay is complete.
    async fn progress(&self) -> (u64, bool) {
        let all = self.running.replays().await.unwrap();
        all.first()
            .map_or((0, false), |it| (it.messages, it.done.is_some()))
    }

    async fn until_replayed(&self, messages: u64) {
        until("the replay proceeds", async || {
            self.progress().await.0 >= messages
        })
        .await;
    }
}

#[test]
fn a_late_subscriber_equals_its_source_although_all_processes_are_replaced() {
    block_on(async {
        let servers = Servers::start();
        let mut first = servers.process(counting()).await;
        let mut second = servers.process(counting()).await;
        for _ in 0..PAST {
            first.count().await;
        }
        let mut watchers = [
            servers.process(watching()).await,
            servers.process(watching()).await,
        ];
        for (at, replayed) in [1, 300, 600, 900].into_iter().enumerate() {
            first.until_replayed(replayed).await;
            second.count().await;
            servers.replace(&mut watchers[at % 2], watching()).await;
            servers.replace(&mut first, counting()).await;
            std::mem::swap(&mut first, &mut second);
        }
        second.count().await;
        until("the replay is complete", async || first.progress().await.1).await;
        let expected = (PAST + 5) as u64;
        let reads = watchers[0].running.reads("watching").unwrap();
        let shown = async || reads.entities::<Shown>(None, 100).await.unwrap();
        until("the view equals its source", async || {
            let shown = shown().await;
            shown.len() == COUNTERS && shown.iter().all(|(_, it)| it.events >= expected)
        })
        .await;
        for (id, shown) in shown().await {
            assert_eq!((shown.events, shown.disorder), (expected, false), "{id}");
            assert!(shown.replayed >= PAST as u64, "{id}: {shown:?}");
        }
    });
}
