//! The cost of a subscription with a long backlog for its neighbour: the same work with and without
//! the backlog, in pairs of runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use wingbeat::call::HyperClient;
use wingbeat::{
    App, Entity, Envelope, Event, Handler as _, JsonSchema, Message, Name, Ports, Result, Running,
    RuntimeExt as _, Service, Table, TokioRuntime, Transport as _, schemars,
};
use wingbeat_embedded::{Config, Embedded, EmbeddedCache};

/// The messages of the neighbour in one run.
const MESSAGES: usize = 30_000;
/// The messages of which each waits for the one before.
const ROUND_TRIPS: usize = 300;
/// Messages in one call of the transport.
const BATCH: usize = 500;

/// A message that waits.
#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "feed.waited", version = 1, key = number)]
struct Waited {
    number: usize,
    note: String,
}

/// A message of the neighbour.
#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "feed.arrived", version = 1, key = number)]
struct Arrived {
    number: usize,
    note: String,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Count {
    arrived: u64,
}

impl Entity for Count {
    const NAME: &'static str = "count";
    type Id = usize;
}

async fn linger(_: Waited) -> Result<()> {
    tokio::time::sleep(Duration::from_millis(100)).await;
    Ok(())
}

async fn count(event: Arrived, counts: Table<Count>) -> Result<()> {
    let counted = counts.update(&(event.number % 10_000), |known| Count {
        arrived: known.unwrap_or_default().arrived + 1,
    });
    counted.await.map(drop)
}

/// The subscription with the backlog.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Backlog {
    /// An operator has paused it.
    Paused,
    /// It handles ten messages a second.
    Slow,
}

/// The figures of a run of the neighbour.
struct Figures {
    per_second: f64,
    /// The median round trip of one message, in milliseconds.
    round_trip: f64,
}

/// Measures pairs of runs, without and with a backlog of this many messages.
pub(crate) async fn run(rows: usize, pairs: usize) {
    for backlog in [Backlog::Paused, Backlog::Slow] {
        let (mut rates, mut trips) = (Vec::new(), Vec::new());
        for pair in 0..pairs {
            // The first of a pair finds other caches than the second.
            let order = if pair % 2 == 0 { [0, rows] } else { [rows, 0] };
            let mut found = [None, None];
            for rows in order {
                found[usize::from(rows > 0)] = Some(once(backlog, rows).await);
            }
            let [Some(without), Some(with)] = found else {
                return;
            };
            println!(
                "  {backlog:?}: {:.0}/s and {:.2} ms without, {:.0}/s and {:.2} ms with {rows} messages",
                without.per_second, without.round_trip, with.per_second, with.round_trip
            );
            rates.push(with.per_second / without.per_second);
            trips.push(with.round_trip / without.round_trip);
        }
        println!(
            "neighbour of a subscription ({backlog:?}) with {rows} messages: median of {pairs} pairs, \
             throughput × {:.3}, round trip × {:.3}",
            median(&mut rates),
            median(&mut trips)
        );
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn once(backlog: Backlog, rows: usize) -> Figures {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let runtime = TokioRuntime::new();
    let embedded = Embedded::open(&Config::new(directory.path())).expect("it opens");
    let cache = EmbeddedCache::open(directory.path(), runtime.clone()).expect("it opens");
    let ports = Ports {
        runtime: runtime.clone(),
        store: embedded.clone(),
        transport: embedded.clone(),
        cache,
        http: HyperClient::new(),
    };
    let running = App::new()
        .service(Service::new("waiting").on(linger.concurrency(1).named("linger")))
        .service(Service::new("counting").on(count.concurrency(512).named("count")))
        .outside(["feed"])
        .start(ports)
        .await
        .expect("it starts");
    if matches!(backlog, Backlog::Paused) {
        let paused = running.pause("waiting", "linger").await;
        assert!(paused.expect("the store writes"), "it is there");
    }
    let note = "x".repeat(430);
    let waited = (0..rows).map(|number| {
        envelope(
            &runtime,
            &Waited {
                number,
                note: note.clone(),
            },
        )
    });
    publish(&embedded, waited).await;
    let start = Instant::now();
    let arrived = |number| {
        envelope(
            &runtime,
            &Arrived {
                number,
                note: note.clone(),
            },
        )
    };
    publish(&embedded, (0..MESSAGES).map(arrived)).await;
    drained(&running, &embedded).await;
    let per_second = MESSAGES as f64 / start.elapsed().as_secs_f64();
    let mut trips = Vec::new();
    for number in 0..ROUND_TRIPS {
        let start = Instant::now();
        publish(&embedded, std::iter::once(arrived(number))).await;
        drained(&running, &embedded).await;
        trips.push(start.elapsed().as_secs_f64() * 1_000.0);
    }
    running.abandon();
    Figures {
        per_second,
        round_trip: median(&mut trips),
    }
}

async fn publish(embedded: &Arc<Embedded>, messages: impl Iterator<Item = Envelope>) {
    let mut messages = messages;
    loop {
        let batch: Vec<Envelope> = messages.by_ref().take(BATCH).collect();
        if batch.is_empty() {
            return;
        }
        assert!(embedded.publish(batch).await.iter().all(Result::is_ok));
    }
}

/// Waits until the neighbour has handled everything.
async fn drained(running: &Running, embedded: &Arc<Embedded>) {
    let queue: Vec<Name> = running.topology.queues.keys().copied().collect();
    let queue = queue.into_iter().find(|it| it.as_str() == "counting.count");
    let queue = queue.expect("it subscribes");
    while embedded.depth(queue).await.expect("it is there") > 0 {
        tokio::task::yield_now().await;
    }
}

fn envelope<M: Message>(runtime: &Arc<TokioRuntime>, message: &M) -> Envelope {
    let id = runtime.id();
    Envelope {
        id: id.into(),
        source: "feed".into(),
        kind: M::NAME.into(),
        role: M::KIND,
        key: message.key(),
        time: wingbeat::Runtime::now(&**runtime),
        correlation: id.into(),
        causation: None,
        sequence: None,
        operation: None,
        traceparent: None,
        propagation: Default::default(),
        signature: None,
        body: wingbeat::encode_body(message),
    }
}
