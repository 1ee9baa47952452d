//! A projection that is built over a long history while orders go on.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use wingbeat::call::HyperClient;
use wingbeat::{
    Aggregate, App, Changes, JsonSchema, PastEvent, Ports, Projection, Repo, Result, Running,
    Select, Service, ServiceContext, TokioRuntime, View, run_unit, schemars,
};
use wingbeat_embedded::{Config, Embedded, EmbeddedCache};

/// The events of an order.
const EVENTS_EACH: u64 = 10;
/// The orders that are stored at the same time before the measurement.
const AT_ONCE: u64 = 256;
/// The rows of the projection: more orders share one than a unit contains.
const DAYS: u64 = 365;

/// The state of an order. Its commands are the numbers of events that they cause.
#[derive(Default, Clone, Serialize, Deserialize, JsonSchema)]
struct Order {
    cents: u64,
}

#[derive(Serialize, Deserialize)]
struct Paid {
    cents: u64,
    day: u64,
}

impl Aggregate for Order {
    const NAME: &'static str = "order";
    type Id = String;
    type Command = (u64, u64);
    type Event = Paid;
    type Error = ();

    fn decide(&self, (events, day): (u64, u64)) -> Result<Vec<Paid>, ()> {
        let paid = |cents| Paid {
            cents,
            day: (day + cents) % DAYS,
        };
        Ok((0..events).map(paid).collect())
    }

    fn apply(&mut self, paid: &Paid) {
        self.cents += paid.cents;
    }
}

/// The revenue of a day.
#[derive(Default, Serialize, Deserialize)]
struct Day {
    payments: u64,
    cents: u64,
}

impl View for Day {
    const NAME: &'static str = "days";
}

#[derive(Default, Serialize, Deserialize)]
struct Revenue;

impl Projection for Revenue {
    type Aggregate = Order;
    type Row = Day;
    const VERSION: u32 = 1;

    fn project(&mut self, past: &PastEvent<'_, Order>, rows: &mut Changes<Day>) {
        let Paid { cents, day } = *past.event;
        rows.update(format!("{day:03}"), move |row| {
            row.payments += 1;
            row.cents += cents;
        });
    }
}

fn open(directory: &Path) -> Ports {
    let runtime = TokioRuntime::new();
    let embedded = Embedded::open(&Config::new(directory)).expect("it opens");
    let cache = EmbeddedCache::open(directory, runtime.clone()).expect("it opens");
    Ports {
        runtime,
        store: embedded.clone(),
        transport: embedded,
        cache,
        http: HyperClient::new(),
    }
}

async fn start(ports: &Ports, shop: Service) -> Running {
    let started = App::new().service(shop).start(ports.clone()).await;
    started.expect("it starts")
}

async fn order(shop: &Arc<ServiceContext>, id: String, events: u64, day: u64) {
    let ordered = run_unit(shop, |scope| {
        let id = id.clone();
        async move {
            let orders = Repo::<Order>::of(&scope);
            let _ = orders.execute(&id, (events, day)).await?;
            Ok::<_, wingbeat::Error>(())
        }
    });
    ordered.await.expect("it is stored");
}

/// Stores a history of this many events.
async fn fill(running: &Running, events: u64) {
    let shop = running.service("shop").expect("it runs");
    let orders = events.div_ceil(EVENTS_EACH);
    let mut tasks = JoinSet::new();
    for task in 0..AT_ONCE {
        let shop = Arc::clone(&shop);
        tasks.spawn(async move {
            for number in (task..orders).step_by(AT_ONCE as usize) {
                let count = EVENTS_EACH.min(events - number * EVENTS_EACH);
                order(&shop, format!("past-{number:09}"), count, number).await;
            }
        });
    }
    while tasks.join_next().await.is_some() {}
}

/// The latencies of orders, with the time at which each was due.
type Latencies = Arc<Mutex<Vec<(Instant, Duration)>>>;

/// Places orders at a rate for ever. A latency counts from the time at which the order was due.
async fn place(shop: Arc<ServiceContext>, rate: u32, latencies: Latencies) {
    let begun = Instant::now();
    for number in 0_u32.. {
        let due = begun + Duration::from_secs(1) * number / rate;
        tokio::time::sleep_until(due.into()).await;
        let (shop, latencies) = (Arc::clone(&shop), Arc::clone(&latencies));
        tokio::spawn(async move {
            order(&shop, format!("new-{number:09}"), 1, u64::from(number)).await;
            let latency = (due, due.elapsed());
            latencies.lock().expect("no holder panics").push(latency);
        });
    }
}

/// Prints the latencies of the orders that were due within a time.
fn print(name: &str, latencies: &Latencies, from: Instant, until: Instant) {
    let latencies = latencies.lock().expect("no holder panics");
    let within = latencies
        .iter()
        .filter(|(due, _)| (from..until).contains(due));
    let mut sorted: Vec<Duration> = within.map(|(_, latency)| *latency).collect();
    sorted.sort();
    let at = |percent: usize| {
        let index = sorted.len() * percent / 100;
        let latency = sorted.get(index.min(sorted.len().saturating_sub(1)));
        latency.map_or(0.0, |it| it.as_secs_f64() * 1_000.0)
    };
    println!(
        "  orders {name}: p50 {:.1} ms, p99 {:.1} ms, of {}",
        at(50),
        at(99),
        sorted.len()
    );
}

/// Returns whether readers see the projection, and whether its build has begun.
async fn progress(running: &Running) -> (bool, bool) {
    let statuses = running.rebuilds().await.expect("the store is there");
    let status = statuses.iter().find_map(|it| {
        let projection = it.projection.as_ref()?;
        Some((projection.shown.is_some(), it.began.is_some()))
    });
    status.expect("the projection has a status")
}

/// Stores `events`, then builds a projection of them while `rate` orders a second go on.
pub(crate) async fn run(events: u64, rate: u32, directory: &Path) {
    let ports = open(directory);
    let running = start(&ports, Service::new("shop")).await;
    let begun = Instant::now();
    fill(&running, events).await;
    println!(
        "{events} events stored in {:.1} s",
        begun.elapsed().as_secs_f64()
    );
    running.drain().await;
    drop(running);
    let running = start(&ports, Service::new("shop").projects::<Revenue>()).await;
    let latencies = Latencies::default();
    let shop = running.service("shop").expect("it runs");
    let placing = tokio::spawn(place(shop, rate, Arc::clone(&latencies)));
    // It waits about 40 seconds for processes of another release: the time to compare with.
    let started = Instant::now();
    while !progress(&running).await.1 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let began = Instant::now();
    while !progress(&running).await.0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let shown = Instant::now();
    let took = (shown - began).as_secs_f64();
    println!(
        "built in {took:.1} s, {:.0} events/s, while {rate} orders/s went on",
        events as f64 / took
    );
    tokio::time::sleep(Duration::from_secs(10)).await;
    placing.abort();
    tokio::time::sleep(Duration::from_secs(3)).await;
    print(
        "before",
        &latencies,
        started + Duration::from_secs(5),
        began,
    );
    print("during", &latencies, began, shown);
    print("after", &latencies, shown, shown + Duration::from_secs(10));
    let placed = latencies.lock().expect("no holder panics").len() as u64;
    let reads = running.reads("shop").expect("it runs");
    let rows = reads.rows::<Day>(Select::All, None, 1_000).await;
    let rows = rows.expect("it is shown").rows;
    let counted: u64 = rows.iter().map(|(_, day)| day.payments).sum();
    assert_eq!(counted, events + placed, "each event counts once");
    running.drain().await;
}
