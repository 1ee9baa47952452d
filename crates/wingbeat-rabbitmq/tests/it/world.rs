//! A service on the whole runtime, with the store of the in-memory model and a real RabbitMQ.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use wingbeat::TokioRuntime;
use wingbeat::call::HyperClient;
use wingbeat::runtime::TaskGroup;
use wingbeat::test::model::Model;
use wingbeat::{
    App, Command, Effects, Entity, Error, Event, JsonSchema, Message, Result, Running, Service,
    Table, schemars,
};
use wingbeat_core::conformance::Bench;
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{Envelope, Name};
use wingbeat_rabbitmq::{Config, RabbitMq};

use crate::conformance::open_with;
use crate::traffic::until;

pub(crate) const METERS: Name = Name::new("meters");
/// The queue of [`MeterRead`].
pub(crate) const READ: Name = Name::new("meters.read");

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "meter.read", version = 1, key = meter)]
pub(crate) struct MeterRead {
    pub(crate) meter: String,
    pub(crate) number: u32,
}

/// Makes the service publish [`Noted`] with a note of this size.
#[derive(Command, Clone, Serialize, Deserialize, JsonSchema)]
#[command(name = "meters.note", version = 1, key = meter)]
pub(crate) struct Note {
    pub(crate) meter: String,
    pub(crate) size: usize,
}

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "meters.noted", version = 1, key = meter)]
pub(crate) struct Noted {
    pub(crate) meter: String,
    pub(crate) note: String,
}

/// Makes the service send [`Store`], whose owner is not deployed.
#[derive(Command, Clone, Serialize, Deserialize, JsonSchema)]
#[command(name = "meters.archive", version = 1, key = meter)]
pub(crate) struct Archive {
    pub(crate) meter: String,
}

#[derive(Command, Clone, Serialize, Deserialize, JsonSchema)]
#[command(name = "attic.store", version = 1, key = meter)]
pub(crate) struct Store {
    pub(crate) meter: String,
}

/// The handled messages of a meter, in their order.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(crate) struct Log {
    pub(crate) numbers: Vec<u32>,
    pub(crate) notes: usize,
}

impl Entity for Log {
    const NAME: &'static str = "log";
    type Id = String;
}

pub(crate) async fn keep(event: MeterRead, logs: Table<Log>) -> Result<()> {
    let kept = logs.update(&event.meter, |known| {
        let mut log: Log = known.unwrap_or_default();
        log.numbers.push(event.number);
        log
    });
    kept.await.map(drop)
}

async fn note(command: Note, logs: Table<Log>) -> Result<Noted, Error> {
    let counted = logs.update(&command.meter, |known| {
        let mut log: Log = known.unwrap_or_default();
        log.notes += 1;
        log
    });
    counted.await?;
    Ok(Noted {
        meter: command.meter,
        note: "n".repeat(command.size),
    })
}

async fn archive(command: Archive) -> Result<Effects, Error> {
    let meter = command.meter;
    let mut effects = Effects::new();
    effects.send(&Store {
        meter: meter.clone(),
    });
    effects.publish(&MeterRead { meter, number: 1 });
    Ok(effects)
}

/// Creates the app with the service.
pub(crate) fn meters() -> App {
    App::new().service(Service::new("meters").on(keep).on(note).on(archive))
}

/// A store that the processes of a test share, and their broker.
pub(crate) struct World {
    pub(crate) model: Model,
    pub(crate) config: Config,
    pub(crate) runtime: Arc<TokioRuntime>,
}

/// A process of the service.
pub(crate) struct Process {
    pub(crate) tasks: Arc<TaskGroup>,
    pub(crate) running: Running,
    pub(crate) transport: Arc<RabbitMq>,
}

impl World {
    pub(crate) fn new(config: Config) -> Self {
        let runtime = TokioRuntime::new();
        Self {
            model: Model::new(runtime.clone()),
            config,
            runtime,
        }
    }

    pub(crate) async fn start(&self, app: App) -> Process {
        let tasks = TaskGroup::new(self.runtime.clone());
        let runtime: SharedRuntime = tasks.clone();
        let transport = open_with(&self.config, &runtime).await;
        let ports = wingbeat::Ports {
            runtime: tasks.clone(),
            store: self.model.store.clone(),
            transport: transport.clone(),
            cache: self.model.cache.clone(),
            http: HyperClient::new(),
        };
        let running = app.allow_unknown_owners().start(ports).await.unwrap();
        Process {
            tasks,
            running,
            transport,
        }
    }

    /// Returns the test bench of the conformance suite, on the transport of a process.
    pub(crate) fn bench(&self, process: &Process) -> Bench {
        Bench {
            store: self.model.store.clone(),
            transport: process.transport.clone(),
            runtime: self.runtime.clone(),
        }
    }

    /// Encodes a message as a foreign publisher does.
    pub(crate) fn message<M: Message>(&self, message: &M) -> Envelope {
        wingbeat::ports::published_by("elsewhere", message, &*self.runtime)
    }
}

impl Process {
    /// Reads the log of a meter.
    pub(crate) async fn log(&self, meter: &str) -> Log {
        let reads = self.running.reads("meters").unwrap();
        let log = reads.entity::<Log>(&meter.to_owned()).await.unwrap();
        log.unwrap_or_default()
    }

    pub(crate) async fn until_kept(&self, meter: &str, count: usize) {
        until("all readings are kept", async || {
            self.log(meter).await.numbers.len() >= count
        })
        .await;
    }

    /// Waits for `count` dead letters, and returns their reasons, sorted.
    pub(crate) async fn reasons(&self, count: usize) -> Vec<String> {
        let letters = async || self.running.dead_letters(METERS).await.unwrap();
        until("there are dead letters", async || {
            letters().await.len() >= count
        })
        .await;
        let mut reasons: Vec<String> = letters().await.into_iter().map(|it| it.reason).collect();
        reasons.sort();
        reasons
    }
}
