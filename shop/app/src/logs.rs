//! Logs, on stderr, and spans, to a collector.

use std::io::IsTerminal as _;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};
use wingbeat::telemetry::json::JsonLines;
use wingbeat::telemetry::text::TextLines;

use crate::Settings;
use crate::settings::LogFormat;

/// What is told while the process runs, until it is closed.
pub struct Logs {
    #[cfg(feature = "otlp")]
    spans: Option<wingbeat::telemetry::otlp::Exporter>,
}

/// Why it cannot be told: one line.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address of the collector is none.
    #[error("the setting `otlp`: {0}")]
    Collector(String),
}

/// Starts logging. A second start in one process changes nothing.
///
/// # Errors
///
/// The address of the collector is none.
pub fn start(settings: &Settings) -> Result<Logs, Error> {
    let layers = vec![lines(settings)];
    #[cfg(feature = "otlp")]
    let (layers, spans) = spans(settings, layers)?;
    drop(tracing_subscriber::registry().with(layers).try_init());
    Ok(Logs {
        #[cfg(feature = "otlp")]
        spans,
    })
}

type Told = Box<dyn Layer<Registry> + Send + Sync>;

fn lines(settings: &Settings) -> Told {
    // What clients of servers say beside their errors, which are told by us: whole messages, and notices. Spans
    // go to the collector; a line has their ids without them.
    let quiet = "lapin=off,tokio_postgres=warn,wingbeat.spans=off";
    let filter = EnvFilter::try_new(format!("{quiet},{}", settings.log));
    let filter = filter.unwrap_or_else(|_| EnvFilter::new(format!("{quiet},info")));
    let lines = fmt::layer().with_writer(std::io::stderr);
    match settings.log_format {
        LogFormat::Text => lines
            .event_format(TextLines::new(std::io::stderr().is_terminal()))
            .with_filter(filter)
            .boxed(),
        LogFormat::Json => lines.event_format(JsonLines).with_filter(filter).boxed(),
    }
}

#[cfg(feature = "otlp")]
fn spans(
    settings: &Settings,
    mut layers: Vec<Told>,
) -> Result<(Vec<Told>, Option<wingbeat::telemetry::otlp::Exporter>), Error> {
    let Some(collector) = &settings.otlp else {
        return Ok((layers, None));
    };
    let started = wingbeat::telemetry::otlp::start(collector);
    let (spans, exporter) = started.map_err(|why| Error::Collector(why.to_string()))?;
    layers.push(spans.layer().boxed());
    Ok((layers, Some(exporter)))
}

impl Logs {
    /// Sends what has not been sent, within a bound.
    pub async fn close(self) {
        #[cfg(feature = "otlp")]
        if let Some(spans) = &self.spans {
            spans.flush(SENT_WITHIN).await;
        }
    }
}

/// The longest wait for the collector at the end.
#[cfg(feature = "otlp")]
const SENT_WITHIN: std::time::Duration = std::time::Duration::from_secs(3);
