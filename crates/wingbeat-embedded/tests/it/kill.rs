//! Kills a process with two handlers repeatedly, on the same data. Confirmed messages take effect
//! once.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wingbeat::TokioRuntime;
use wingbeat::ports::{Envelope, Transport as _};
use wingbeat::{App, Entity, Event, JsonSchema, Result, Runtime as _, Service, Table, schemars};
use wingbeat_embedded::{Config, Embedded};

use crate::setup;

/// Number of kills.
const KILLS: u64 = 20;
/// Number of commands published at once.
const BATCH: u64 = 50;
/// Number of commands reserved for one child; far more than it publishes.
const NUMBERS: u64 = 1_000_000;
/// Environment variables of the child: its data directory, and its first number.
const DATA: &str = "WINGBEAT_KILL_DATA";
const FIRST: &str = "WINGBEAT_KILL_FIRST";

#[derive(wingbeat::Command, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[command(name = "counting.add", version = 1, key = number)]
struct Add {
    number: u64,
}

#[derive(Event, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[event(name = "counting.added", version = 1, key = number)]
struct Added {
    number: u64,
}

/// Number of times that a handler ran for a number.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Times {
    times: u32,
}

impl Entity for Times {
    const NAME: &'static str = "times";
    type Id = u64;
}

async fn add(command: Add, times: Table<Times>) -> Result<Added> {
    let number = command.number;
    times.update(&number, once_more).await?;
    Ok(Added { number })
}

async fn added(event: Added, times: Table<Times>) -> Result<()> {
    times.update(&event.number, once_more).await.map(drop)
}

fn once_more(known: Option<Times>) -> Times {
    let times = known.unwrap_or_default().times + 1;
    Times { times }
}

async fn start(data: &Path) -> (Arc<Embedded>, wingbeat::Running) {
    let runtime = TokioRuntime::new();
    let embedded = Embedded::open(&Config::new(data)).expect("it opens");
    let ports = setup::ports(runtime, &embedded, data);
    let app = App::new()
        .service(Service::new("counting").on(add))
        .service(Service::new("watching").on(added));
    let running = app.start(ports).await.unwrap_or_else(|why| panic!("{why}"));
    (embedded, running)
}

/// The child: publishes until it is killed, and prints which commands were confirmed.
#[tokio::test(flavor = "multi_thread")]
async fn child() {
    let (Ok(data), Ok(first)) = (std::env::var(DATA), std::env::var(FIRST)) else {
        return; // Not started as a child.
    };
    let (embedded, _running) = start(Path::new(&data)).await;
    let runtime = TokioRuntime::new();
    let mut number: u64 = first.parse().expect("a number");
    loop {
        let batch = number..number + BATCH;
        let messages = batch
            .clone()
            .map(|number| envelope(&runtime, &Add { number }));
        let confirmed = embedded.publish(messages.collect()).await;
        assert!(confirmed.iter().all(std::result::Result::is_ok));
        number = batch.end;
        println!("\nconfirmed {number}");
        std::io::stdout().flush().expect("the parent listens");
    }
}

fn envelope(runtime: &Arc<TokioRuntime>, command: &Add) -> Envelope {
    wingbeat::ports::published_by("child", command, &**runtime)
}

/// Starts a child, kills it after this many confirmed batches, and returns the end of the confirmed
/// numbers.
fn run_and_kill(data: &Path, first: u64, batches: u64) -> u64 {
    let mut child = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "kill::child", "--nocapture", "--test-threads=1"])
        .env(DATA, data)
        .env(FIRST, first.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let ends = lines.filter_map(|line| line.ok()?.strip_prefix("confirmed ")?.parse::<u64>().ok());
    let confirmed = ends.take(batches as usize).last().expect("it confirms");
    child.kill().expect("it is running");
    child.wait().expect("it was killed");
    confirmed
}

#[tokio::test(flavor = "multi_thread")]
async fn confirmed_commands_take_effect_once_over_many_kills() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut confirmed = BTreeSet::new();
    for life in 0..KILLS {
        let first = life * NUMBERS;
        let batches = 1 + life * 7 % 23; // A different moment for each child.
        let end = run_and_kill(directory.path(), first, batches);
        confirmed.extend(first..end);
    }
    let (embedded, running) = start(directory.path()).await;
    let runtime = TokioRuntime::new();
    for queue in running.topology.queues.keys() {
        while embedded.depth(*queue).await.expect("it is there") > 0 {
            runtime.sleep(Duration::from_millis(5)).await;
        }
    }
    for service in ["counting", "watching"] {
        let reads = running.reads(service).expect("it runs");
        let mut handled = BTreeSet::new();
        let mut after = None;
        loop {
            let page = reads
                .entities::<Times>(after, 1_000)
                .await
                .expect("it reads");
            after = page.last().map(|(id, _)| id.clone());
            for (id, times) in page {
                assert_eq!(times.times, 1, "{service}: {id}");
                handled.insert(id.parse::<u64>().expect("a number"));
            }
            if after.is_none() {
                break;
            }
        }
        let lost: Vec<_> = confirmed.difference(&handled).take(5).collect();
        assert!(
            lost.is_empty(),
            "{service} lost {lost:?} of {}",
            confirmed.len()
        );
    }
}
