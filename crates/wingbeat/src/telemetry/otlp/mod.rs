//! Sends spans to a collector: OTLP over HTTP, in protobuf (opentelemetry.io/docs/specs/otlp).
//!
//! Ended spans wait in a bounded queue; a task sends them in batches. If the collector is
//! unavailable, slow or overloaded, spans are dropped and counted. The work itself never waits.
#![allow(
    clippy::disallowed_methods,
    reason = "an adapter with real clock and sockets; simulations do not run it"
)]

mod collector;
mod layer;

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use wingbeat_core::tls::TlsFiles;

pub use collector::NotCollector;
pub use layer::Spans;

use collector::Collector;

/// The capacity of the queue: about 8 MiB, or one second of a busy service. Further spans are
/// dropped.
const WAITING_MAX: usize = 8_192;
/// The spans in one batch, about half a MiB.
const BATCH_MAX: usize = 512;
/// The longest time for which spans are collected before they are sent.
const GATHER: Duration = Duration::from_secs(1);

/// The metric of exported and dropped spans.
pub mod metric {
    /// A counter of ended spans.
    pub const SPANS: &str = "wingbeat_otlp_spans_total";
    /// Its label for their outcome: `sent`, `failed` (the collector did not accept them) or `full`
    /// (the queue was full).
    pub const OUTCOME: &str = "outcome";
}

/// An item for the task that sends.
enum Item {
    Span(Box<layer::Ended>),
    /// Send all spans before it now; notified when that is done.
    Flush(oneshot::Sender<()>),
}

/// Sends the spans of a process.
pub struct Exporter {
    queue: mpsc::Sender<Item>,
}

/// Checks the address of a collector.
///
/// # Errors
///
/// [`NotCollector`] if it is none.
pub fn check(collector: &str) -> Result<(), NotCollector> {
    Collector::url(collector).map(drop)
}

/// Starts to send spans to the collector at this address, such as `http://localhost:4318`. Add the
/// layer to a `tracing` subscriber. `tls` applies to `https` addresses.
///
/// # Errors
///
/// [`NotCollector`] if the address is not an `http` or `https` URL, or if a file of the TLS
/// settings cannot be used.
pub fn start(collector: &str, tls: &TlsFiles) -> Result<(Spans, Exporter), NotCollector> {
    let collector = Collector::at(collector, tls)?;
    let (queue, waiting) = mpsc::channel(WAITING_MAX);
    tokio::spawn(send(waiting, collector));
    let exporter = Exporter {
        queue: queue.clone(),
    };
    Ok((Spans::new(queue), exporter))
}

impl Exporter {
    /// Sends the queued spans, for at most this long.
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
            let _ = done.send(()); // The caller may have timed out.
        }
    }
}

fn is_flush(item: &Item) -> bool {
    matches!(item, Item::Flush(_))
}
