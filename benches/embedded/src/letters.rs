//! Many dead letters: the first page, a poisoned group, and a redrive while other messages go on.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use wingbeat::app::{Decision, Incident, Redrive, Selection};
use wingbeat::call::HyperClient;
use wingbeat::ports::Transport as _;
use wingbeat::{
    App, Error, Event, JsonSchema, Name, Ports, Result, Running, Service, TokioRuntime, schemars,
};
use wingbeat_embedded::{Config, Embedded, EmbeddedCache};

const SERVICE: Name = Name::new("orders");
/// The causes of failure. The first one is never mended.
const CODES: [&str; 12] = [
    "poisoned", "torn", "lost", "unpaid", "unknown", "closed", "moved", "empty", "expired",
    "locked", "missing", "refused",
];
/// The dead letters a second of the redrive.
const RATE: u32 = 500;
/// The pause between two messages beside it.
const BESIDE: Duration = Duration::from_millis(5);

#[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
#[event(name = "shop.order_placed", version = 1, key = order)]
struct OrderPlaced {
    order: u32,
    /// The number of the cause because of which it fails.
    fault: Option<usize>,
    note: String,
}

/// The latencies of messages beside the redrive, by the order's number.
type Beside = Arc<Mutex<Vec<(u32, Instant)>>>;

/// A service with a store of its own.
struct Orders {
    _directory: tempfile::TempDir,
    embedded: Arc<Embedded>,
    runtime: Arc<TokioRuntime>,
    running: Running,
    mended: Arc<AtomicBool>,
    beside: Beside,
}

impl Orders {
    async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let (mended, beside) = (Arc::new(AtomicBool::new(false)), Beside::default());
        let (is_mended, handled) = (Arc::clone(&mended), Arc::clone(&beside));
        let handle = move |event: OrderPlaced| {
            let done = fails(&event, is_mended.load(Ordering::Relaxed));
            if done.is_ok() && event.fault.is_none() {
                let mut handled = handled.lock().expect("not poisoned");
                handled.push((event.order, Instant::now()));
            }
            std::future::ready(done)
        };
        let runtime = TokioRuntime::new();
        let embedded = Embedded::open(&Config::new(directory.path())).expect("it opens");
        let ports = Ports {
            cache: EmbeddedCache::open(directory.path(), runtime.clone()).expect("it opens"),
            runtime: runtime.clone(),
            store: embedded.clone(),
            transport: embedded.clone(),
            http: HyperClient::new(),
        };
        let app = App::new().service(Service::new("orders").on(handle));
        let running = app.allow_unknown_owners().start(ports).await;
        Self {
            _directory: directory,
            embedded,
            runtime,
            running: running.expect("it starts"),
            mended,
            beside,
        }
    }

    async fn publish(&self, orders: &[OrderPlaced]) {
        let published = |it| wingbeat::ports::published_by("shop", it, &*self.runtime);
        let envelopes = orders.iter().map(published).collect();
        let sent = self.embedded.publish(envelopes).await;
        assert!(sent.iter().all(std::result::Result::is_ok), "{sent:?}");
    }

    /// Makes dead letters of all causes, and waits until they are sorted.
    async fn fail(&self, letters: u32) -> Vec<Incident> {
        let begun = Instant::now();
        for first in (0..letters).step_by(500) {
            let order = |order: u32| OrderPlaced {
                order,
                fault: Some(order as usize % CODES.len()),
                note: "n".repeat(400),
            };
            let orders: Vec<_> = (first..letters.min(first + 500)).map(order).collect();
            self.publish(&orders).await;
        }
        let sorted = |groups: &[Incident]| sum(groups) == u64::from(letters);
        let groups = until(&self.running, sorted).await;
        println!(
            "{letters} dead letters of {} causes: made and sorted in {:.1} s",
            groups.len(),
            begun.elapsed().as_secs_f64()
        );
        groups
    }

    /// Publishes messages that can be handled until `stop` is set. Returns when each was sent.
    async fn go_on(&self, first: u32, stop: &AtomicBool) -> Vec<(u32, Instant)> {
        let mut sent = Vec::new();
        for order in first.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            sent.push((order, Instant::now()));
            let placed = OrderPlaced {
                order,
                fault: None,
                note: String::new(),
            };
            self.publish(&[placed]).await;
            tokio::time::sleep(BESIDE).await;
        }
        sent
    }
}

/// Runs the benchmark with this number of dead letters.
pub(crate) async fn run(letters: u32) {
    let orders = Orders::start().await;
    let groups = orders.fail(letters).await;
    let running = &orders.running;
    first_page(running, &groups).await;

    let group = |code: &str| groups.iter().find(|it| it.reason == code);
    let poisoned = group(CODES[0]).expect("a group");
    let ended = redrive(running, poisoned).await;
    println!(
        "poisoned group of {}: {:?} after {} delivered",
        poisoned.count, ended.state, ended.sent
    );

    orders.mended.store(true, Ordering::Relaxed);
    let mended = group(CODES[1]).expect("a group");
    let stop = AtomicBool::new(false);
    let mending = async {
        let done = redrive(running, mended).await;
        stop.store(true, Ordering::Relaxed);
        done
    };
    let (sent, done) = tokio::join!(orders.go_on(letters, &stop), mending);
    let took = done
        .ended
        .expect("it ended")
        .since(done.began)
        .as_secs_f64();
    println!(
        "mended group of {}: {:?}, {} delivered in {took:.1} s: {:.0}/s of at most {RATE}",
        mended.count,
        done.state,
        done.sent,
        done.sent as f64 / took,
    );
    latencies(&sent, &orders.beside);
    running.drain().await;
}

fn fails(event: &OrderPlaced, is_mended: bool) -> Result<()> {
    match event.fault {
        Some(fault) if fault == 0 || !is_mended => {
            let text = format!("the order {} cannot be handled", event.order);
            Err(Error::reject(CODES[fault], text))
        }
        _ => Ok(()),
    }
}

fn sum(groups: &[Incident]) -> u64 {
    groups.iter().map(|it| it.count).sum()
}

async fn until(running: &Running, wanted: impl Fn(&[Incident]) -> bool) -> Vec<Incident> {
    loop {
        let groups = running.incidents_of(SERVICE).await.expect("it reads");
        if wanted(&groups) {
            return groups;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Measures the list of groups, and the first page of the largest one.
async fn first_page(running: &Running, groups: &[Incident]) {
    let mut times = Vec::new();
    for _ in 0..20 {
        let begun = Instant::now();
        let found = running.incidents_of(SERVICE).await.expect("it reads");
        let page = running.incident_letters(SERVICE, &found[0].group, None, 50);
        assert_eq!(page.await.expect("it reads").0.len(), 50);
        assert_eq!(found.len(), groups.len());
        times.push(begun.elapsed());
    }
    times.sort();
    println!(
        "first page, groups and 50 dead letters: median {:.1} ms, worst {:.1} ms",
        times[times.len() / 2].as_secs_f64() * 1_000.0,
        times[times.len() - 1].as_secs_f64() * 1_000.0
    );
}

/// Redrives a group until that has ended.
async fn redrive(running: &Running, group: &Incident) -> Redrive {
    let mut selection = Selection::default();
    selection.group = Some(group.group.clone());
    selection.rate = RATE;
    let by = Decision::by("bench").because("measured");
    let begun = running.redrive(SERVICE, selection, &by).await;
    let id = begun.expect("it begins").expect("the service runs").id;
    loop {
        let all = running.redrives_of(SERVICE).await.expect("it reads");
        let one = all
            .into_iter()
            .find(|it| it.id == id)
            .expect("it is listed");
        if !one.is_active() {
            return one;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn latencies(sent: &[(u32, Instant)], beside: &Beside) {
    let handled = beside.lock().expect("not poisoned");
    let mut times: Vec<Duration> = Vec::new();
    let mut seen = BTreeSet::new();
    for (order, at) in handled.iter() {
        let begun = sent.iter().find(|(of, _)| of == order);
        if let (Some((_, begun)), true) = (begun, seen.insert(*order)) {
            times.push(at.duration_since(*begun));
        }
    }
    times.sort();
    let at = |part: usize| times.get(times.len() * part / 100).copied();
    println!(
        "{} messages beside it, {} handled: median {:.1} ms, p99 {:.1} ms",
        sent.len(),
        times.len(),
        at(50).unwrap_or_default().as_secs_f64() * 1_000.0,
        at(99).unwrap_or_default().as_secs_f64() * 1_000.0
    );
}
