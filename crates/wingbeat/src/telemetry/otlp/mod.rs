//! Sends telemetry to a collector: OTLP over HTTP, in protobuf (opentelemetry.io/docs/specs/otlp).
//!
//! Ended spans and log records wait in bounded queues; a task sends each kind in batches. Metrics
//! are read and sent at an interval, by `wingbeat::run`. If the collector is unavailable, slow or
//! overloaded, telemetry is dropped and counted. The work itself never waits.
#![allow(
    clippy::disallowed_methods,
    reason = "an adapter with real clock and sockets; simulations do not run it"
)]

mod collector;
mod layer;
mod logs;
mod points;
mod queue;
mod resource;

use tokio::sync::{mpsc, oneshot};
use wingbeat_core::tls::TlsFiles;

pub use collector::NotCollector;
pub use layer::Spans;
pub use logs::LogRecords;

pub(crate) use points::Points;
pub(crate) use resource::{Value, attribute};

use collector::Collector;
use queue::{Queue, Record, Sending};

/// The metrics of exported and dropped telemetry.
pub mod metric {
    /// A counter of ended spans.
    pub const SPANS: &str = "wingbeat_otlp_spans_total";
    /// A counter of log records.
    pub const LOG_RECORDS: &str = "wingbeat_otlp_log_records_total";
    /// A counter of the values of metrics.
    pub const METRIC_POINTS: &str = "wingbeat_otlp_metric_points_total";
    /// Their label for the outcome: `sent`, `failed` (the collector did not accept them) or `full`
    /// (too many waited).
    pub const OUTCOME: &str = "outcome";
}

/// A kind of telemetry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Traces,
    Metrics,
    Logs,
}

impl Signal {
    /// The collector's path.
    const fn path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Metrics => "/v1/metrics",
            Self::Logs => "/v1/logs",
        }
    }

    /// The word for log lines.
    const fn items(self) -> &'static str {
        match self {
            Self::Traces => "spans",
            Self::Metrics => "metrics",
            Self::Logs => "log records",
        }
    }

    /// Returns the URL of this signal at the address of a collector. The address may contain the
    /// path of a signal.
    pub(crate) fn at(self, collector: &str) -> String {
        let all = [Self::Traces, Self::Metrics, Self::Logs];
        let base = collector.trim_end_matches('/');
        let base = all.iter().find_map(|it| base.strip_suffix(it.path()));
        let base = base.unwrap_or(collector).trim_end_matches('/');
        format!("{base}{}", self.path())
    }
}

/// Sends the spans or the log records of a process.
pub struct Exporter {
    flushes: mpsc::Sender<oneshot::Sender<()>>,
}

/// Checks the address of a collector.
///
/// # Errors
///
/// [`NotCollector`] if it is none.
pub fn check(collector: &str) -> Result<(), NotCollector> {
    Collector::url(&Signal::Traces.at(collector)).map(drop)
}

/// Starts to send spans to the collector at this address, such as `http://localhost:4318`. Add the
/// layer to a `tracing` subscriber. `tls` applies to `https` addresses.
///
/// # Errors
///
/// [`NotCollector`] if the address is not an `http` or `https` URL, or if a file of the TLS
/// settings cannot be used.
pub fn start(collector: &str, tls: &TlsFiles) -> Result<(Spans, Exporter), NotCollector> {
    spans_to(&Signal::Traces.at(collector), tls)
}

/// Starts to send log records to the collector at this address, as records of `service`. Add the
/// layer to a `tracing` subscriber, with the filter of its log lines. `tls` applies to `https`
/// addresses.
///
/// ```no_run
/// use tracing_subscriber::layer::SubscriberExt as _;
/// use wingbeat::telemetry::otlp;
/// use wingbeat::tls::TlsFiles;
///
/// # fn example() -> Result<(), otlp::NotCollector> {
/// let tls = TlsFiles::default();
/// let (records, exporter) = otlp::start_logs("http://localhost:4318", "orders", &tls)?;
/// let subscriber = tracing_subscriber::registry().with(records.layer());
/// # drop((subscriber, exporter));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
///
/// [`NotCollector`], as for [`start`].
pub fn start_logs(
    collector: &str,
    service: &str,
    tls: &TlsFiles,
) -> Result<(LogRecords, Exporter), NotCollector> {
    logs_to(&Signal::Logs.at(collector), service, tls)
}

/// Starts to send spans to this URL.
pub(crate) fn spans_to(url: &str, tls: &TlsFiles) -> Result<(Spans, Exporter), NotCollector> {
    let collector = Collector::at(url, Signal::Traces, tls)?;
    let (queue, exporter) = begin(collector, ""); // Each span has the name of its service.
    Ok((Spans::new(queue), exporter))
}

/// Starts to send log records of a service to this URL.
pub(crate) fn logs_to(
    url: &str,
    service: &str,
    tls: &TlsFiles,
) -> Result<(LogRecords, Exporter), NotCollector> {
    let collector = Collector::at(url, Signal::Logs, tls)?;
    let (queue, exporter) = begin(collector, service);
    Ok((LogRecords::new(queue), exporter))
}

fn begin<T: Record>(collector: Collector, service: &str) -> (Queue<T>, Exporter) {
    let (queue, queued) = queue::bounded();
    let sending = Sending {
        queued,
        collector,
        service: service.to_owned(),
        told: false,
    };
    // A second flush waits for the first.
    let (flushes, asked) = mpsc::channel(1);
    tokio::spawn(sending.run(asked));
    (queue, Exporter { flushes })
}

impl Exporter {
    /// Sends what waits in the queue, for at most this long.
    pub async fn flush(&self, within: std::time::Duration) {
        let (told, done) = oneshot::channel();
        let flush = async {
            if self.flushes.send(told).await.is_ok() {
                drop(done.await);
            }
        };
        drop(tokio::time::timeout(within, flush).await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_collector_may_contain_the_path_of_a_signal() {
        let base = [
            "http://a:4318",
            "http://a:4318/",
            "http://a:4318/v1/traces",
            "http://a:4318/v1/logs/",
        ];
        for address in base {
            assert_eq!(
                Signal::Metrics.at(address),
                "http://a:4318/v1/metrics",
                "{address}"
            );
        }
        assert_eq!(Signal::Logs.at("https://a/otlp"), "https://a/otlp/v1/logs");
    }
}
