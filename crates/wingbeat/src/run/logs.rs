//! Log lines on stderr, and spans to a collector.

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
    spans: Option<crate::telemetry::otlp::Exporter>,
}

type BoxedLayer = Box<dyn Layer<Registry> + Send + Sync>;

/// Starts logging. A second start in one process changes nothing.
pub(super) fn start<S>(settings: &Settings<S>) -> Result<Logs, RunError> {
    let layers = vec![lines(settings)];
    #[cfg(feature = "otlp")]
    let (layers, spans) = spans(settings, layers)?;
    // A test may have started it already.
    let _ = tracing_subscriber::registry().with(layers).try_init();
    Ok(Logs {
        #[cfg(feature = "otlp")]
        spans,
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
    #[cfg(feature = "otlp")]
    if let Some(Err(why)) = settings.otlp.as_deref().map(crate::telemetry::otlp::check) {
        faults.push(RunError::Collector(why.to_string()));
    }
    faults
}

fn lines<S>(settings: &Settings<S>) -> BoxedLayer {
    // The adapters log the clients' errors themselves. Spans go to the collector only: log lines
    // contain their ids.
    let quiet = "lapin=off,tokio_postgres=warn,wingbeat.spans=off";
    let filter = |log: &str| format!("{quiet},{log}").parse::<Targets>();
    let filter = filter(&settings.log).or_else(|_| filter("info"));
    let filter = filter.expect("the directives for the clients are valid");
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

#[cfg(feature = "otlp")]
fn spans<S>(
    settings: &Settings<S>,
    mut layers: Vec<BoxedLayer>,
) -> Result<(Vec<BoxedLayer>, Option<crate::telemetry::otlp::Exporter>), RunError> {
    let Some(collector) = &settings.otlp else {
        return Ok((layers, None));
    };
    let started = crate::telemetry::otlp::start(collector, &settings.tls);
    let (spans, exporter) = started.map_err(|why| RunError::Collector(why.to_string()))?;
    layers.push(spans.layer().boxed());
    Ok((layers, Some(exporter)))
}

impl Logs {
    /// Sends the remaining spans, within three seconds.
    pub(super) async fn close(self) {
        #[cfg(feature = "otlp")]
        if let Some(spans) = &self.spans {
            spans.flush(std::time::Duration::from_secs(3)).await;
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
