//! The effectively-once handler on RabbitMQ and PostgreSQL: inbox, state, and one outgoing message
//! per message.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use wingbeat::ports::{Envelope, Kind, Store as _, Topology};
use wingbeat::transport::Binding;
use wingbeat::{
    App, Command, Entity, Event, Handler as _, JsonSchema, Message as _, Name, Result, Service,
    Table as Records, schemars,
};
use wingbeat_servers::{Postgres, RabbitMq};

use crate::client::ports;
use crate::options::Options;
use crate::process::{Process, server_cpu};
use crate::protocol::{Commands, answer};
use crate::table::Table;
use crate::workload::Job;

/// Messages of a run per second of load.
const A_SECOND: u64 = 15_000;
/// Messages in one call of the transport.
const BATCH: usize = 512;
/// The queue of the messages that the handler publishes.
const SINK: &str = "sink.added";

/// The number of entities that the messages change.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    Many,
    One,
}

#[derive(Command, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[command(name = "counting.add", version = 1, key = account)]
struct Add {
    account: String,
    amount: i64,
    /// Fills the message to 500 bytes, the size of a real one.
    note: String,
}

#[derive(Event, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[event(name = "counting.added", version = 1, key = account)]
struct Added {
    account: String,
    total: i64,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Account {
    total: i64,
}

impl Entity for Account {
    const NAME: &'static str = "account";
    type Id = String;
}

async fn add(command: Add, accounts: Records<Account>) -> Result<Added> {
    let account = command.account;
    let changed = accounts.update(&account, |known| Account {
        total: known.unwrap_or_default().total + command.amount,
    });
    let total = changed.await?.total;
    Ok(Added { account, total })
}

/// The answer of a worker.
#[derive(Serialize, Deserialize)]
struct Ran {
    handled: u64,
    seconds: f64,
}

/// Measures the handler.
pub(crate) async fn run(options: Options, keys: Keys, table: &mut Table) {
    let (what, keys, goal) = match keys {
        Keys::Many => ("effectively-once handler", "10000", 12_000.0),
        Keys::One => ("one hot key", "1", 40_000.0),
    };
    for _ in 0..options.runs {
        // New servers for each run, so that runs are comparable.
        let (broker, store) = (RabbitMq::start(), Postgres::start());
        let messages = (options.seconds * A_SECOND).to_string();
        let args = ["handler", &broker.url(), &store.url(), keys, &messages];
        let mut process = Process::worker(&args).await;
        let words = [
            format!("-p {}", store.port()),
            format!("RABBITMQ_NODE_PORT={}", broker.port()),
        ];
        let used = || words.each_ref().map(|word| server_cpu(word));
        let (before, servers) = (process.cpu(), used());
        process.send("go").await;
        let ran: Ran = serde_json::from_value(process.answer().await).unwrap();
        let handled = ran.handled as f64;
        for (place, who) in ["PostgreSQL", "RabbitMQ"].into_iter().enumerate() {
            let cpu = used()[place] - servers[place];
            table.add(what, who, "s CPU/100k", cpu * 1e5 / handled);
        }
        table.add(what, "wingbeat", "/s", handled / ran.seconds);
        table.add(
            what,
            "wingbeat",
            "s CPU/100k",
            (process.cpu() - before) * 1e5 / handled,
        );
        table.add(what, "wingbeat", "MB", process.peak_mb());
    }
    let reached = table.median(what, "wingbeat", "/s").unwrap_or_default();
    table.goal(
        format!("{what}: {goal}/s"),
        format!("{reached:.0}"),
        reached >= goal,
    );
}

/// Fills the queue and then handles all of its messages.
pub(crate) async fn worker(broker: &str, store: &str, keys: u64, messages: u64) {
    let (store, ports, _folder) = ports(&Job::on(broker, store)).await;
    let (transport, runtime) = (ports.transport.clone(), ports.runtime.clone());
    let app = App::new().service(Service::new("counting").on(add.concurrency(512)));
    let topology = app.topology();
    transport.declare(&topology).await.unwrap();
    transport.declare(&sink()).await.unwrap();
    let note = "x".repeat(430);
    let mut messages_to_send = (0..messages).map(|number| {
        let command = Add {
            account: format!("account-{}", number % keys),
            amount: 1,
            note: note.clone(),
        };
        wingbeat::ports::published_by("bench", &command, &*runtime)
    });
    loop {
        let batch: Vec<Envelope> = messages_to_send.by_ref().take(BATCH).collect();
        if batch.is_empty() {
            break;
        }
        assert!(transport.publish(batch).await.iter().all(Result::is_ok));
    }
    let mut commands = Commands::start().await;
    let start = Instant::now();
    let running = app.start(ports).await.unwrap();
    let queue = *topology.queues.keys().next().unwrap();
    let outbox = store.outbox().unwrap();
    while transport.depth(queue).await.unwrap() > 0
        || outbox.waiting(Added::NAME).await.unwrap() > 0
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    answer(&Ran {
        handled: messages,
        seconds: start.elapsed().as_secs_f64(),
    });
    commands.end().await;
    drop(running);
}

/// A queue for the messages of the handler, so that the broker has to store them.
fn sink() -> Topology {
    let binding = Binding {
        message: Added::NAME,
        kind: Kind::Event,
    };
    Topology {
        queues: BTreeMap::from([(Name::new(SINK), vec![binding].into())]),
    }
}
