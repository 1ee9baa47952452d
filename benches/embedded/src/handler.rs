//! A service with one effectively-once handler: inbox, state and one outgoing message per message.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use wingbeat::Ports;
use wingbeat::TokioRuntime;
use wingbeat::call::HyperClient;
use wingbeat::ports::{Envelope, Transport as _};
use wingbeat::{App, Command, Entity, Event, JsonSchema, Result, Service, Table, schemars};
use wingbeat_embedded::{Config, Embedded, EmbeddedCache};

use crate::{Measured, about};

/// The messages of a run.
const MESSAGES: usize = 200_000;
/// Messages in one call of the transport.
const BATCH: usize = 500;

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

async fn add(command: Add, accounts: Table<Account>) -> Result<Added> {
    let account = command.account;
    let changed = accounts.update(&account, |known| Account {
        total: known.unwrap_or_default().total + command.amount,
    });
    let total = changed.await?.total;
    Ok(Added { account, total })
}

/// Handles all messages, spread over this number of keys.
pub(crate) async fn run(keys: usize) -> Measured {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let runtime = TokioRuntime::new();
    let embedded = Embedded::open(&Config::new(directory.path())).expect("it opens");
    let cache = EmbeddedCache::open(directory.path(), runtime.clone()).expect("it opens");
    let service = Service::new("counting");
    let app = App::new().service(service.on(wingbeat::Handler::concurrency(add, 512)));
    let topology = app.topology();
    embedded.declare(&topology).await.expect("it is declared");
    let ports = Ports {
        runtime: runtime.clone(),
        store: embedded.clone(),
        transport: embedded.clone(),
        cache,
        http: HyperClient::new(),
    };
    let note = "x".repeat(430);
    let mut messages = (0..MESSAGES).map(|number| {
        let command = Add {
            account: format!("account-{}", number % keys),
            amount: 1,
            note: note.clone(),
        };
        envelope(&runtime, &command)
    });
    loop {
        let batch: Vec<Envelope> = messages.by_ref().take(BATCH).collect();
        if batch.is_empty() {
            break;
        }
        assert!(embedded.publish(batch).await.iter().all(Result::is_ok));
    }
    let before = embedded.stats();
    let start = Instant::now();
    let running = app.start(ports).await.expect("it starts");
    let queue = *topology.queues.keys().next().expect("one queue");
    while embedded.depth(queue).await.expect("it is there") > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let took = start.elapsed().as_secs_f64();
    let after = embedded.stats();
    running.drain().await;
    drop(Arc::clone(&embedded));
    Measured {
        per_second: MESSAGES as f64 / took,
        about: about(&before, &after),
    }
}

fn envelope(runtime: &Arc<TokioRuntime>, command: &Add) -> Envelope {
    wingbeat::ports::published_by("bench", command, &**runtime)
}
