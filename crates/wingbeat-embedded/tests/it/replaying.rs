//! A subscription from the beginning whose process is killed repeatedly while it receives the past.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wingbeat::TokioRuntime;
use wingbeat::{
    Aggregate, App, Entity, Error, Event, Handler as _, Happened, JsonSchema, Meta, Repo, Result,
    Running, Runtime as _, Service, Table, run_unit, schemars,
};
use wingbeat_embedded::{Config, Embedded};

use crate::setup;

/// The aggregates, and the events of each before the subscription exists.
const COUNTERS: usize = 40;
const PAST: u64 = 60;
/// Environment variables of the child: its data directory, and whether it has the subscription.
const DATA: &str = "WINGBEAT_REPLAY_DATA";
const LATE: &str = "WINGBEAT_REPLAY_LATE";
/// The replayed events after which a child is killed.
const KILLED_AFTER: [u64; 4] = [1, 300, 900, 1_500];

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

fn app(late: bool) -> App {
    let counting = Service::new("counting").publishes_history(|it: Happened<'_, Counter>| {
        Some(Counted {
            counter: it.id.into(),
            count: it.state.count,
        })
    });
    let watching = Service::new("watching");
    let watching = if late {
        watching.on(show.from_beginning())
    } else {
        watching
    };
    App::new().service(counting).service(watching)
}

async fn start(data: &Path, late: bool) -> Running {
    let runtime = TokioRuntime::new();
    let embedded = Embedded::open(&Config::new(data)).expect("it opens");
    let ports = setup::ports(runtime, &embedded, data);
    let running = app(late).start(ports).await;
    running.unwrap_or_else(|why| panic!("{why}"))
}

/// Counts each counter once.
async fn count(running: &Running) {
    let service = running.service("counting").expect("it runs");
    for number in 0..COUNTERS {
        let counted = run_unit(&service, |scope| async move {
            let counters = Repo::<Counter>::of(&scope);
            counters.execute(&number.to_string(), ()).await?.map(drop)
        });
        counted.await.expect("it commits");
    }
}

/// The number of replayed events, and whether the replay is complete.
async fn progress(running: &Running) -> (u64, bool) {
    let all = running.replays().await.expect("the store answers");
    all.first()
        .map_or((0, false), |it| (it.messages, it.done.is_some()))
}

/// The child: makes the past, or receives it while the present goes on.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let (Ok(data), Ok(late)) = (std::env::var(DATA), std::env::var(LATE)) else {
        return; // Not started as a child.
    };
    let running = start(Path::new(&data), late == "true").await;
    let say = |word: &str, number: u64| {
        println!("\n{word} {number}");
        std::io::stdout().flush().expect("the parent listens");
    };
    if late != "true" {
        for _ in 0..PAST {
            count(&running).await;
        }
    }
    loop {
        count(&running).await;
        say("reached", progress(&running).await.0);
        TokioRuntime::new().sleep(Duration::from_millis(20)).await;
    }
}

/// Starts a child and kills it once the replay has reached this many events.
fn run_and_kill(data: &Path, late: bool, events: u64) {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args([
            "--exact",
            "replaying::child",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(DATA, data)
        .env(LATE, late.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let mut reached = lines.filter_map(|line| line.ok()?.strip_prefix("reached ")?.parse().ok());
    assert!(reached.any(|it: u64| it >= events), "the child has ended");
    child.kill().expect("it is running");
    child.wait().expect("it was killed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_is_killed_repeatedly_has_no_gap_and_no_double() {
    let directory = tempfile::tempdir().expect("a directory");
    run_and_kill(directory.path(), false, 0);
    for events in KILLED_AFTER {
        run_and_kill(directory.path(), true, events);
    }
    let running = start(directory.path(), true).await;
    let runtime: Arc<TokioRuntime> = TokioRuntime::new();
    let (counting, watching) = (running.reads("counting"), running.reads("watching"));
    let (counting, watching) = (counting.expect("it runs"), watching.expect("it runs"));
    let begun = std::time::Instant::now();
    loop {
        let counters = counting
            .aggregates::<Counter>(None, 100)
            .await
            .expect("it reads");
        let shown = watching
            .entities::<Shown>(None, 100)
            .await
            .expect("it reads");
        let equal = counters.len() == COUNTERS
            && shown.len() == COUNTERS
            && counters
                .iter()
                .zip(&shown)
                .all(|((_, it), (_, shown))| it.count == shown.events);
        if equal && progress(&running).await.1 {
            assert!(shown.iter().all(|(_, it)| !it.disorder), "{shown:?}");
            assert!(shown.iter().all(|(_, it)| it.replayed >= PAST), "{shown:?}");
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "{shown:?}");
        runtime.sleep(Duration::from_millis(20)).await;
    }
}
