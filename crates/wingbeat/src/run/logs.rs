//! Log lines on stderr; spans and log records to a collector.

use std::io::IsTerminal as _;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry, fmt};

use super::error::RunError;
use super::settings::{LogFormat, Settings};
use crate::telemetry::json::JsonLines;
use crate::telemetry::text::TextLines;

/// Logging that was started.
pub(super) struct Logs {
    #[cfg(feature = "otlp")]
    exporters: Vec<crate::telemetry::otlp::Exporter>,
}

type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Starts logging as this service. A second start in one process changes nothing.
#[cfg_attr(
    not(feature = "otlp"),
    allow(unused_variables, reason = "log lines do not name the process")
)]
pub(super) fn start<S>(settings: &Settings<S>, service: &str) -> Result<Logs, RunError> {
    let layers = vec![lines(settings)];
    #[cfg(feature = "otlp")]
    let (layers, exporters) = exported(settings, service, layers)?;
    // A test may have started it already.
    let _ = tracing_subscriber::registry().with(layers).try_init();
    Ok(Logs {
        #[cfg(feature = "otlp")]
        exporters,
    })
}

/// Returns what is wrong in the settings of logging.
pub(super) fn faults<S>(settings: &Settings<S>) -> Vec<RunError> {
    let mut faults = Vec::new();
    if settings.log.parse::<Targets>().is_err() {
        let text = format!(
            "the setting `log`: {:?} is not a filter such as `info` or `wingbeat=debug,info`",
            settings.log
        );
        faults.push(RunError::Program(text));
    }
    faults
}

/// Returns the filter of log lines and log records.
fn filter<S>(settings: &Settings<S>) -> Targets {
    // The adapters log the clients' errors themselves. Spans go to the collector only: log lines
    // contain their ids.
    let quiet = "lapin=off,tokio_postgres=warn,wingbeat.spans=off";
    let filter = |log: &str| format!("{quiet},{log}").parse::<Targets>();
    let filter = filter(&settings.log).or_else(|_| filter("info"));
    filter.expect("the directives for the clients are valid")
}

fn lines<S>(settings: &Settings<S>) -> BoxedLayer {
    let filter = filter(settings);
    // A closed stderr is no reason to fail, and there is nowhere else to report it.
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .log_internal_errors(false);
    match settings.log_format {
        LogFormat::Text => lines
            .event_format(TextLines::new(std::io::stderr().is_terminal()))
            .with_filter(filter)
            .boxed(),
        LogFormat::Json => lines.event_format(JsonLines).with_filter(filter).boxed(),
    }
}

/// The layers that export, with what flushes them.
#[cfg(feature = "otlp")]
type Exported = (Vec<BoxedLayer>, Vec<crate::telemetry::otlp::Exporter>);

#[cfg(feature = "otlp")]
fn exported<S>(
    settings: &Settings<S>,
    service: &str,
    mut layers: Vec<BoxedLayer>,
) -> Result<Exported, RunError> {
    use crate::telemetry::otlp::{NotCollector, logs_to, spans_to};
    let refused = |why: NotCollector| RunError::Collector(why.to_string());
    let mut exporters = Vec::new();
    if let Some(url) = &settings.otlp.traces {
        let (spans, exporter) = spans_to(url, &settings.tls).map_err(refused)?;
        layers.push(spans.layer().boxed());
        exporters.push(exporter);
    }
    if let Some(url) = &settings.otlp.logs {
        let (records, exporter) = logs_to(url, service, &settings.tls).map_err(refused)?;
        layers.push(records.layer().with_filter(filter(settings)).boxed());
        exporters.push(exporter);
    }
    Ok((layers, exporters))
}

impl Logs {
    /// Sends the remaining spans and log records, within three seconds.
    pub(super) async fn close(self) {
        #[cfg(feature = "otlp")]
        {
            let within = std::time::Duration::from_secs(3);
            let flushes = self.exporters.iter().map(|it| it.flush(within));
            futures_util::future::join_all(flushes).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_cannot_be_parsed_is_wrong() {
        let faults = |filter: &str| {
            let settings = Settings {
                log: filter.into(),
                ..Settings::<()>::default()
            };
            faults(&settings).len()
        };
        for right in ["info", "wingbeat=debug,info", "off"] {
            assert_eq!(faults(right), 0, "{right}");
        }
        for wrong in ["a=b=c=d", "wingbeat=noisy"] {
            assert_eq!(faults(wrong), 1, "{wrong}");
        }
    }
}
