//! The cost of a subscription with a long backlog for its neighbour: the same work with and without
//! the backlog, in pairs of runs, in both deployments.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use wingbeat::call::HyperClient;
use wingbeat::ports::Envelope;
use wingbeat::{
    App, Entity, Event, Handler as _, JsonSchema, Message, Name, Ports, Result, Service,
    Table as Records, TokioRuntime, schemars,
};
use wingbeat_embedded::{Config, Embedded, EmbeddedCache};
use wingbeat_servers::{Postgres, RabbitMq};

use crate::client::ports;
use crate::options::Options;
use crate::table::Table;
use crate::workload::Job;

/// The messages of the neighbour in one run.
const MESSAGES: usize = 20_000;
/// The messages of which each waits for the one before.
const ROUND_TRIPS: usize = 300;
/// Messages in one call of the transport.
const BATCH: usize = 500;
/// The largest cost for the neighbour.
const GOAL: f64 = 1.1;

/// The attempts at messages of the neighbour.
static HANDLED: AtomicUsize = AtomicUsize::new(0);

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

async fn count(event: Arrived, counts: Records<Count>) -> Result<()> {
    let key = event.number % 10_000;
    let counted = counts.update(&key, |known| Count {
        arrived: known.unwrap_or_default().arrived + 1,
    });
    counted.await?;
    HANDLED.fetch_add(1, Ordering::Relaxed);
    Ok(())
}

/// The subscription with the backlog.
#[derive(Clone, Copy, Debug)]
enum Backlog {
    /// An operator has paused it.
    Paused,
    /// It handles ten messages a second.
    Slow,
}

/// The adapters of a run, with what must live as long as they do.
struct Deployment {
    ports: Ports,
    _keep: Box<dyn std::any::Any>,
}

impl Deployment {
    /// SQLite as store and broker.
    fn embedded() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = TokioRuntime::new();
        let embedded = Embedded::open(&Config::new(folder.path())).unwrap();
        let ports = Ports {
            store: embedded.clone(),
            transport: embedded,
            cache: EmbeddedCache::open(folder.path(), runtime.clone()).unwrap(),
            http: HyperClient::new(),
            runtime,
        };
        let _keep = Box::new(folder);
        Self { ports, _keep }
    }

    /// New servers, so that runs are comparable.
    async fn on_servers() -> Self {
        let (broker, store) = (RabbitMq::start(), Postgres::start());
        let (_, ports, folder) = ports(&Job::on(&broker.url(), &store.url())).await;
        let _keep = Box::new((broker, store, folder));
        Self { ports, _keep }
    }
}

/// The figures of a run of the neighbour.
struct Figures {
    per_second: f64,
    /// The median round trip of one message, in milliseconds.
    round_trip: f64,
}

/// Measures pairs of runs, without and with a backlog.
pub(crate) async fn run(options: Options, table: &mut Table) {
    for deployment in ["embedded", "on servers"] {
        for backlog in [Backlog::Paused, Backlog::Slow] {
            pairs(options, deployment, backlog, table).await;
        }
    }
}

async fn pairs(options: Options, deployment: &str, backlog: Backlog, table: &mut Table) {
    let rows = options.backlog;
    let what = format!("neighbour of {rows} messages, {deployment}");
    let who = format!("{backlog:?}");
    for pair in 0..options.runs {
        // The first run of a pair finds other caches than the second.
        let order = if pair % 2 == 0 { [0, rows] } else { [rows, 0] };
        let mut found = Vec::new();
        for rows in order {
            let on = match deployment {
                "embedded" => Deployment::embedded(),
                _ => Deployment::on_servers().await,
            };
            found.push((rows, once(on, backlog, rows).await));
        }
        found.sort_by_key(|(rows, _)| *rows);
        let (without, with) = (&found[0].1, &found[1].1);
        table.add(&what, &who, "/s alone", without.per_second);
        table.add(&what, &who, "ms alone", without.round_trip);
        let time = without.per_second / with.per_second;
        table.add(&what, &who, "× time", time);
        let trip = with.round_trip / without.round_trip;
        table.add(&what, &who, "× round trip", trip);
    }
    for unit in ["× time", "× round trip"] {
        let reached = table.median(&what, &who, unit).unwrap_or_default();
        let goal = format!("{what}, {who}: at most {GOAL} {unit}");
        table.goal(goal, format!("{reached:.2}"), reached <= GOAL);
    }
}

async fn once(deployment: Deployment, backlog: Backlog, rows: usize) -> Figures {
    let ports = deployment.ports.clone();
    let app = App::new()
        .service(Service::new("waiting").on(linger.concurrency(1).named("linger")))
        .service(Service::new("counting").on(count.concurrency(512).named("count")))
        .outside(["feed"]);
    let running = app.start(ports.clone()).await.unwrap();
    if matches!(backlog, Backlog::Paused) {
        assert!(running.pause("waiting", "linger").await.unwrap());
    }
    let note = "x".repeat(430);
    let waited = |number| Waited {
        number,
        note: note.clone(),
    };
    publish(&ports, (0..rows).map(waited)).await;
    let arrived = |number| Arrived {
        number,
        note: note.clone(),
    };
    HANDLED.store(0, Ordering::Relaxed);
    let start = Instant::now();
    publish(&ports, (0..MESSAGES).map(arrived)).await;
    handled(&ports, MESSAGES).await;
    let per_second = MESSAGES as f64 / start.elapsed().as_secs_f64();
    let mut trips = Vec::new();
    for number in 0..ROUND_TRIPS {
        let start = Instant::now();
        let before = HANDLED.load(Ordering::Relaxed);
        publish(&ports, std::iter::once(arrived(number))).await;
        handled(&ports, before + 1).await;
        trips.push(start.elapsed().as_secs_f64() * 1_000.0);
    }
    running.abandon();
    trips.sort_by(f64::total_cmp);
    Figures {
        per_second,
        round_trip: trips[ROUND_TRIPS / 2],
    }
}

async fn publish<M: Message>(ports: &Ports, mut messages: impl Iterator<Item = M>) {
    loop {
        let batch = messages.by_ref().take(BATCH);
        let batch: Vec<Envelope> = batch.map(|message| envelope(ports, &message)).collect();
        if batch.is_empty() {
            return;
        }
        let published = ports.transport.publish(batch).await;
        assert!(published.iter().all(Result::is_ok));
    }
}

/// Waits until the neighbour has handled so many messages, and acknowledged all of them.
async fn handled(ports: &Ports, count: usize) {
    let queue = Name::new("counting.count");
    while HANDLED.load(Ordering::Relaxed) < count || ports.transport.depth(queue).await.unwrap() > 0
    {
        tokio::time::sleep(Duration::from_micros(100)).await;
    }
}

fn envelope<M: Message>(ports: &Ports, message: &M) -> Envelope {
    wingbeat::ports::published_by("feed", message, &*ports.runtime)
}
