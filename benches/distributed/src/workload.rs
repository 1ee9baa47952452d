//! Messages, their pace, and the figures that a consumer collects.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::protocol::{Commands, answer};

/// The unconfirmed messages of a producer, and the prefetch of a consumer.
pub(crate) const WINDOW: usize = 256;

/// The first part of a latency run, which is not counted.
const WARM_UP: f64 = 0.1;

/// The servers and the queue of a producer or consumer.
pub(crate) struct Job {
    pub(crate) broker: String,
    pub(crate) store: String,
    pub(crate) queue: String,
}

impl Job {
    pub(crate) fn new(broker: &str, store: &str, queue: &str) -> Self {
        Self {
            broker: broker.into(),
            store: store.into(),
            queue: queue.into(),
        }
    }

    /// A job without a queue of its own.
    pub(crate) fn on(broker: &str, store: &str) -> Self {
        Self::new(broker, store, "")
    }
}

/// The length of a run, and messages per second; 0 for as many as possible.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) time: Duration,
    pub(crate) rate: u32,
}

/// The times at which messages of a pace are due.
pub(crate) struct Schedule {
    pace: Pace,
    start: Instant,
    sent: u32,
}

impl Pace {
    pub(crate) fn start(self) -> Schedule {
        Schedule {
            pace: self,
            start: Instant::now(),
            sent: 0,
        }
    }
}

impl Schedule {
    /// Waits until the next message is due; returns false when the run is over.
    pub(crate) async fn next(&mut self) -> bool {
        if self.pace.rate > 0 {
            let at = Duration::from_secs(1) * self.sent / self.pace.rate;
            tokio::time::sleep_until((self.start + at).into()).await;
        }
        self.sent += 1;
        self.start.elapsed() < self.pace.time
    }

    /// Returns whether messages are due one by one, not as fast as possible.
    pub(crate) fn is_paced(&self) -> bool {
        self.pace.rate > 0
    }

    /// Answers the benchmark for a producer.
    pub(crate) fn finish(&self, sent: u64) {
        let elapsed = self.start.elapsed();
        answer(&Sent {
            sent,
            seconds: elapsed.as_secs_f64(),
            began: micros() - u64::try_from(elapsed.as_micros()).unwrap(),
        });
    }
}

/// The answer of a producer.
#[derive(Serialize)]
struct Sent {
    sent: u64,
    seconds: f64,
    /// The start, in microseconds of the wall clock.
    began: u64,
}

/// The message: 500 bytes of JSON.
#[derive(Serialize, Deserialize)]
pub(crate) struct Body {
    pub(crate) order: String,
    /// The time of its creation, in microseconds of the wall clock.
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
fn micros() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_micros()).unwrap()
}

/// The figures of a consumer.
#[derive(Default)]
pub(crate) struct Tally {
    count: AtomicU64,
    first: AtomicU64,
    last: AtomicU64,
    latencies: Mutex<Vec<u64>>,
}

impl Tally {
    /// Decodes and counts a message.
    pub(crate) fn receive(&self, body: &[u8]) {
        let body: Body = serde_json::from_slice(body).unwrap();
        self.count(body.at);
    }

    /// Counts a message that was created at this time.
    pub(crate) fn count(&self, created: u64) {
        let now = micros();
        if self.count.load(Ordering::Relaxed) == 0 {
            self.first.store(now, Ordering::Relaxed);
        }
        self.last.fetch_max(now, Ordering::Relaxed);
        self.latencies().push(now.saturating_sub(created));
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits for the number of messages and for the last of them, and answers the benchmark.
    pub(crate) async fn finish(self: Arc<Self>, mut commands: Commands) {
        let total: u64 = commands.next("total").await.parse().unwrap();
        while self.count.load(Ordering::Relaxed) < total {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.answer(total);
        commands.end().await;
    }

    fn answer(&self, received: u64) {
        let latencies = self.latencies();
        let skipped = (latencies.len() as f64 * WARM_UP) as usize;
        let mut counted = latencies[skipped..].to_vec();
        counted.sort_unstable();
        answer(&Received {
            received,
            first: self.first.load(Ordering::Relaxed),
            last: self.last.load(Ordering::Relaxed),
            p50: percentile(&counted, 0.5),
            p99: percentile(&counted, 0.99),
        });
    }

    fn latencies(&self) -> MutexGuard<'_, Vec<u64>> {
        self.latencies
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answer of a consumer: times in microseconds of the wall clock, latencies in milliseconds.
#[derive(Serialize)]
struct Received {
    received: u64,
    first: u64,
    last: u64,
    p50: f64,
    p99: f64,
}

/// Returns a percentile of sorted microseconds, in milliseconds.
pub(crate) fn percentile(sorted: &[u64], part: f64) -> f64 {
    let place = ((sorted.len() as f64 * part) as usize).min(sorted.len().saturating_sub(1));
    sorted
        .get(place)
        .map_or(0.0, |micros| *micros as f64 / 1000.0)
}
