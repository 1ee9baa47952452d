//! What a part does: a process of its own that this program starts with the word `part`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines, Stdin};

use crate::{client, handler, path};

/// The first argument of a part.
pub(crate) const WORD: &str = "part";
/// Messages on their way at once, and the prefetch.
pub(crate) const WINDOW: usize = 256;
/// Of a latency run, what is not counted: the start.
const WARM_UP: f64 = 0.1;

/// Runs the part that the arguments name.
pub(crate) async fn run(args: Vec<String>) {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["produce", client, broker, store, queue, seconds, rate] => {
            let job = Job {
                broker: broker.into(),
                store: store.into(),
                queue: queue.into(),
            };
            let pace = Pace {
                time: Duration::from_secs_f64(seconds.parse().unwrap()),
                rate: rate.parse().unwrap(),
            };
            client::produce(client, &job, pace).await;
        }
        ["consume", client, broker, store, queue] => {
            let job = Job {
                broker: broker.into(),
                store: store.into(),
                queue: queue.into(),
            };
            client::consume(client, &job).await;
        }
        ["handler", broker, store, keys, messages] => {
            let (keys, messages) = (keys.parse().unwrap(), messages.parse().unwrap());
            handler::part(broker, store, keys, messages).await;
        }
        ["path", service, broker, store] => path::part(service, broker, store).await,
        _ => panic!("no part {args:?}"),
    }
}

/// Where to work.
pub(crate) struct Job {
    pub(crate) broker: String,
    pub(crate) store: String,
    pub(crate) queue: String,
}

/// How long, and how many a second; 0 for as many as can be.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) time: Duration,
    pub(crate) rate: u32,
}

/// Counts down a pace: when the next message is due.
pub(crate) struct Metronome {
    pace: Pace,
    start: Instant,
    beats: u32,
}

impl Pace {
    pub(crate) fn start(self) -> Metronome {
        Metronome {
            pace: self,
            start: Instant::now(),
            beats: 0,
        }
    }
}

impl Metronome {
    /// Waits for the next message's time; false when time is up.
    pub(crate) async fn beat(&mut self) -> bool {
        if self.pace.rate > 0 {
            let at = Duration::from_secs(1) * self.beats / self.pace.rate;
            tokio::time::sleep_until((self.start + at).into()).await;
        }
        self.beats += 1;
        !self.is_over()
    }

    /// Whether messages come one by one, at their time.
    pub(crate) fn is_paced(&self) -> bool {
        self.pace.rate > 0
    }

    pub(crate) fn is_over(&self) -> bool {
        self.start.elapsed() >= self.pace.time
    }

    /// The answer of a producer.
    pub(crate) fn done(&self, sent: u64) {
        let done = Sent {
            sent,
            seconds: self.start.elapsed().as_secs_f64(),
            began: micros() - u64::try_from(self.start.elapsed().as_micros()).unwrap(),
        };
        tell(&done);
    }
}

/// What a producer says at the end.
#[derive(Serialize)]
struct Sent {
    sent: u64,
    seconds: f64,
    /// When it began, in microseconds of the wall clock.
    began: u64,
}

/// The message: 500 bytes of JSON, made for each and read by each.
#[derive(Serialize, Deserialize)]
pub(crate) struct Body {
    pub(crate) order: String,
    /// When it was made, in microseconds of the wall clock.
    pub(crate) at: u64,
    sku: String,
    quantity: u32,
    note: String,
}

impl Body {
    pub(crate) fn new(number: u64) -> Self {
        Self {
            order: format!("order-{number:012}"),
            at: micros(),
            sku: format!("sku-{:04}", number % 1000),
            quantity: 1,
            note: "x".repeat(390),
        }
    }

    pub(crate) fn bytes(number: u64) -> Vec<u8> {
        serde_json::to_vec(&Self::new(number)).unwrap()
    }
}

/// The wall clock.
pub(crate) fn micros() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_micros()).unwrap()
}

/// What a consumer was handed.
#[derive(Default)]
pub(crate) struct Tally {
    count: AtomicU64,
    first: AtomicU64,
    last: AtomicU64,
    latencies: Mutex<Vec<u64>>,
}

impl Tally {
    /// Takes note of a message, and reads it.
    pub(crate) fn take(&self, body: &[u8]) {
        let body: Body = serde_json::from_slice(body).unwrap();
        self.note(body.at);
    }

    /// Takes note of a message made at that time.
    pub(crate) fn note(&self, made: u64) {
        let now = micros();
        if self.count.load(Ordering::Relaxed) == 0 {
            self.first.store(now, Ordering::Relaxed);
        }
        self.last.fetch_max(now, Ordering::Relaxed);
        let mut latencies = self
            .latencies
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        latencies.push(now.saturating_sub(made));
        drop(latencies);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Hears how many there are, waits for the last of them, and answers.
    pub(crate) async fn until_done(self: Arc<Self>, mut orders: Orders) {
        let total: u64 = orders.next("total").await.parse().unwrap();
        while self.count() < total {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.answer(total);
        orders.end().await;
    }

    fn answer(&self, received: u64) {
        let latencies = self
            .latencies
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let skipped = (latencies.len() as f64 * WARM_UP) as usize;
        let mut counted = latencies[skipped..].to_vec();
        counted.sort_unstable();
        tell(&Received {
            received,
            first: self.first.load(Ordering::Relaxed),
            last: self.last.load(Ordering::Relaxed),
            p50: percentile(&counted, 0.5),
            p99: percentile(&counted, 0.99),
        });
    }
}

/// What a consumer says at the end; times in microseconds of the wall clock, latencies in milliseconds.
#[derive(Serialize)]
struct Received {
    received: u64,
    first: u64,
    last: u64,
    p50: f64,
    p99: f64,
}

/// Of sorted microseconds, in milliseconds.
pub(crate) fn percentile(sorted: &[u64], part: f64) -> f64 {
    let place = ((sorted.len() as f64 * part) as usize).min(sorted.len().saturating_sub(1));
    sorted
        .get(place)
        .map_or(0.0, |micros| *micros as f64 / 1000.0)
}

/// Says one line to whoever started this process.
#[allow(clippy::print_stdout, reason = "it is the protocol")]
pub(crate) fn tell(what: &impl Serialize) {
    println!("{}", serde_json::to_string(what).unwrap());
}

/// What this process is told.
pub(crate) struct Orders {
    lines: Lines<BufReader<Stdin>>,
}

impl Orders {
    /// Says that it is ready, and waits until it may begin.
    pub(crate) async fn go() -> Self {
        println!("ready");
        let lines = BufReader::new(tokio::io::stdin()).lines();
        let mut orders = Self { lines };
        orders.next("go").await;
        orders
    }

    /// The next order, which starts with this word; what comes after it.
    pub(crate) async fn next(&mut self, word: &str) -> String {
        let line = self.lines.next_line().await.unwrap();
        let Some(line) = line else {
            std::process::exit(0); // Whoever started us is gone.
        };
        let rest = line.strip_prefix(word);
        rest.unwrap_or_else(|| panic!("{line:?} instead of {word}"))
            .trim()
            .to_owned()
    }

    /// Waits until nobody wants anything any more.
    pub(crate) async fn end(&mut self) {
        while let Ok(Some(_)) = self.lines.next_line().await {}
        std::process::exit(0);
    }
}
