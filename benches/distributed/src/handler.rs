//! The effectively-once handler: inbox, state and one outgoing message a message, on RabbitMQ and PostgreSQL.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use wingbeat::transport::Binding;
use wingbeat::{
    App, Command, Entity, Envelope, Event, Handler as _, JsonSchema, Kind, Message as _, Name,
    Result, RuntimeExt as _, Service, Store as _, Table as Records, Topology, schemars,
};
use wingbeat_servers::{Postgres, RabbitMq};

use crate::How;
use crate::client::ports;
use crate::part::{Job, Orders, tell};
use crate::process::{Process, server_cpu};
use crate::table::Table;

/// Messages of a run, for each second of it.
const A_SECOND: u64 = 15_000;
/// Messages published at once.
const BATCH: usize = 512;
/// Where what the handler publishes ends up.
const SINK: &str = "sink.added";

/// How many entities the messages change.
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
    /// So that a message weighs about as much as a real one: 500 bytes.
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

/// What a run says.
#[derive(Serialize, Deserialize)]
struct Ran {
    handled: u64,
    seconds: f64,
}

/// Measures it.
pub(crate) async fn run(how: How, keys: Keys, table: &mut Table) {
    let (what, keys, goal) = match keys {
        Keys::Many => ("effectively-once handler", "10000", 12_000.0),
        Keys::One => ("one hot key", "1", 40_000.0),
    };
    for _ in 0..how.runs {
        // Fresh ones each time, so that runs are alike.
        let (broker, store) = (RabbitMq::start(), Postgres::start());
        let messages = (how.seconds * A_SECOND).to_string();
        let args = ["handler", &broker.url(), &store.url(), keys, &messages];
        let mut process = Process::part(&args).await;
        let words = [
            format!("-p {}", store.port()),
            format!("RABBITMQ_NODE_PORT={}", broker.port()),
        ];
        let used = || words.each_ref().map(|word| server_cpu(word));
        let (before, servers) = (process.cpu(), used());
        process.say("go").await;
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

/// The process: fills the queue, then handles all of it.
pub(crate) async fn part(broker: &str, store: &str, keys: u64, messages: u64) {
    let job = Job {
        broker: broker.into(),
        store: store.into(),
        queue: String::new(),
    };
    let (store, ports, _folder) = ports(&job).await;
    let (transport, runtime) = (ports.transport.clone(), ports.runtime.clone());
    let app = App::new().service(Service::new("counting").on(add.concurrency(512)));
    let topology = app.topology();
    transport.declare(&topology).await.unwrap();
    transport.declare(&sink()).await.unwrap();
    let note = "x".repeat(430);
    let mut commands = (0..messages).map(|number| {
        let command = Add {
            account: format!("account-{}", number % keys),
            amount: 1,
            note: note.clone(),
        };
        let id = runtime.id();
        Envelope {
            id: id.into(),
            source: "bench".into(),
            kind: Add::NAME.into(),
            role: Add::KIND,
            key: command.key(),
            time: runtime.now(),
            correlation: id.into(),
            causation: None,
            sequence: None,
            operation: None,
            traceparent: None,
            body: wingbeat::encode_body(&command),
        }
    });
    loop {
        let batch: Vec<Envelope> = commands.by_ref().take(BATCH).collect();
        if batch.is_empty() {
            break;
        }
        assert!(transport.publish(batch).await.iter().all(Result::is_ok));
    }
    let mut orders = Orders::go().await;
    let start = Instant::now();
    let running = app.start(ports).await.unwrap();
    let queue = *topology.queues.keys().next().unwrap();
    let outbox = store.outbox().unwrap();
    while transport.depth(queue).await.unwrap() > 0
        || outbox.waiting(Added::NAME).await.unwrap() > 0
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tell(&Ran {
        handled: messages,
        seconds: start.elapsed().as_secs_f64(),
    });
    orders.end().await;
    drop(running);
}

/// A queue for what the handler publishes: the broker has to keep it.
fn sink() -> Topology {
    let binding = Binding {
        message: Added::NAME,
        kind: Kind::Event,
    };
    Topology {
        queues: BTreeMap::from([(Name::new(SINK), vec![binding].into())]),
    }
}
