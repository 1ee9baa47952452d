//! Sends spans to a collector: OTLP over HTTP, in protobuf (opentelemetry.io/docs/specs/otlp).
//!
//! Spans that have ended wait in a bounded queue; a task sends what has gathered. A collector that
//! is away, slow or overwhelmed costs the spans that nobody took, which are counted, and nothing
//! else: whoever works never waits.
#![allow(
    clippy::disallowed_methods,
    reason = "an adapter: no simulation runs it, its clock and its socket are the machine's"
)]

mod collector;
mod layer;

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

pub use collector::NotCollector;
pub use layer::Spans;

use collector::Collector;

/// Spans that wait to be sent: about 8 MiB, and what a busy service makes in a second. What comes
/// beyond is dropped.
const WAITING_MAX: usize = 8_192;
/// Spans sent at once; a batch is then about half a MiB.
const BATCH_MAX: usize = 512;
/// How long spans gather before they are sent.
const GATHER: Duration = Duration::from_secs(1);

/// The metric of what became of spans.
pub mod metric {
    /// A counter: spans that ended.
    pub const SPANS: &str = "wingbeat_otlp_spans_total";
    /// Its label for what became of them: `sent`, `failed` (the collector did not take them) or
    /// `full` (too many waited).
    pub const OUTCOME: &str = "outcome";
}

/// What goes to the task that sends.
enum Item {
    Span(Box<layer::Ended>),
    /// Everything before it is to be sent now; told when that is done.
    Flush(oneshot::Sender<()>),
}

/// The way out of a process for what its spans have told.
pub struct Exporter {
    queue: mpsc::Sender<Item>,
}

/// Starts to send spans to the collector at this address, such as `http://localhost:4318`. The layer takes them;
/// it goes into a `tracing` subscriber.
///
/// # Errors
///
/// The address is none that can be sent to.
pub fn start(collector: &str) -> Result<(Spans, Exporter), NotCollector> {
    let collector = Collector::at(collector)?;
    let (queue, waiting) = mpsc::channel(WAITING_MAX);
    tokio::spawn(send(waiting, collector));
    let exporter = Exporter {
        queue: queue.clone(),
    };
    Ok((Spans::new(queue), exporter))
}

impl Exporter {
    /// Sends what waits; gives up after so long.
    pub async fn flush(&self, within: Duration) {
        let (told, done) = oneshot::channel();
        let flush = async {
            if self.queue.send(Item::Flush(told)).await.is_ok() {
                drop(done.await);
            }
        };
        drop(tokio::time::timeout(within, flush).await);
    }
}

async fn send(mut waiting: mpsc::Receiver<Item>, mut collector: Collector) {
    let mut items = Vec::with_capacity(BATCH_MAX);
    while waiting.recv_many(&mut items, BATCH_MAX).await > 0 {
        let gather = async {
            while items.len() < BATCH_MAX && !items.iter().any(is_flush) {
                let place = BATCH_MAX - items.len();
                if waiting.recv_many(&mut items, place).await == 0 {
                    return;
                }
            }
        };
        drop(tokio::time::timeout(GATHER, gather).await);
        let mut told = Vec::new();
        let mut spans = Vec::with_capacity(items.len());
        for item in items.drain(..) {
            match item {
                Item::Span(span) => spans.push(*span),
                Item::Flush(done) => told.push(done),
            }
        }
        collector.take(spans).await;
        for done in told {
            let _ = done.send(()); // Whoever asked may have given up.
        }
    }
}

fn is_flush(item: &Item) -> bool {
    matches!(item, Item::Flush(_))
}
