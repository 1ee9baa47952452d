//! The page of metrics in the OpenMetrics text format, which has exemplars.
//!
//! The specification is at
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/>. The other format is `prometheus`' own.

use std::fmt::Write as _;

use http::HeaderMap;
use http::header::ACCEPT;
use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};

use super::exemplars::Exemplar;
use super::page::escaped;
use super::recorder::Recorder;

/// The type of the page.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Returns whether a scraper prefers OpenMetrics to the text format of Prometheus.
pub(super) fn is_preferred(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(ACCEPT).into_iter();
    let accepted = accepted.filter_map(|it| it.to_str().ok());
    let ranges = accepted.flat_map(|it| it.split(','));
    let (mut open, mut text) = (0.0_f64, 0.0_f64);
    for range in ranges {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default();
        let of = |name| parts.clone().find_map(|it| it.strip_prefix(name));
        let quality = of("q=").map_or(Some(1.0), |it| it.parse().ok());
        let quality = quality.unwrap_or(0.0);
        let is_first = of("version=").is_none_or(|it| it.trim_matches('"') == "1.0.0");
        match kind {
            "application/openmetrics-text" if is_first => open = open.max(quality),
            "text/plain" => text = text.max(quality),
            _ => {}
        }
    }
    open > 0.0 && open >= text
}

/// Writes the page.
pub(super) fn render(families: &[MetricFamily], recorder: &Recorder) -> String {
    let mut page = String::new();
    for family in families {
        let name = family.name();
        let (kind, of) = kind(family);
        let _ = writeln!(page, "# TYPE {of} {kind}");
        if !family.help().is_empty() {
            let _ = writeln!(page, "# HELP {of} {}", escaped(family.help()));
        }
        for metric in family.get_metric() {
            match family.get_field_type() {
                MetricType::HISTOGRAM => histogram(&mut page, name, metric, recorder),
                MetricType::COUNTER => {
                    let value = metric.get_counter().get_value();
                    sample(&mut page, name, metric, None, value);
                }
                _ => sample(
                    &mut page,
                    name,
                    metric,
                    None,
                    metric.get_gauge().get_value(),
                ),
            }
            page.push('\n');
        }
    }
    page.push_str("# EOF\n");
    page
}

/// Returns the type of a family, and its name. The samples of a counter end with `_total`, and its
/// name does not; a counter that is named otherwise keeps its name.
fn kind(family: &MetricFamily) -> (&'static str, &str) {
    let name = family.name();
    match family.get_field_type() {
        MetricType::COUNTER => match name.strip_suffix("_total") {
            Some(base) => ("counter", base),
            None => ("unknown", name),
        },
        MetricType::HISTOGRAM => ("histogram", name),
        _ => ("gauge", name),
    }
}

fn histogram(page: &mut String, name: &str, metric: &Metric, recorder: &Recorder) {
    let histogram = metric.get_histogram();
    let exemplars = recorder.exemplars(name, metric.get_label());
    let bucket = format!("{name}_bucket");
    let bounds = histogram.get_bucket().iter();
    let finite = bounds.map(|it| (number(it.upper_bound()), it.cumulative_count()));
    let all = ("+Inf".to_owned(), histogram.get_sample_count());
    for (at, (bound, count)) in finite.chain([all]).enumerate() {
        sample(page, &bucket, metric, Some(&bound), count as f64);
        if let Some(it) = exemplars.as_ref().and_then(|it| it.of_bucket(at)) {
            exemplar(page, it);
        }
        page.push('\n');
    }
    let sum = histogram.get_sample_sum();
    sample(page, &format!("{name}_sum"), metric, None, sum);
    page.push('\n');
    let count = histogram.get_sample_count() as f64;
    sample(page, &format!("{name}_count"), metric, None, count);
}

/// Writes a sample, without the end of its line.
fn sample(page: &mut String, name: &str, metric: &Metric, bound: Option<&str>, value: f64) {
    page.push_str(name);
    let pair = |it: &LabelPair| format!("{}=\"{}\"", it.name(), escaped(it.value()));
    let labels = metric.get_label().iter().map(pair);
    let bound = bound.map(|it| format!("le=\"{it}\""));
    let labels: Vec<String> = labels.chain(bound).collect();
    if !labels.is_empty() {
        let _ = write!(page, "{{{}}}", labels.join(","));
    }
    let _ = write!(page, " {}", value_of(value));
}

fn exemplar(page: &mut String, it: Exemplar) {
    let Exemplar {
        trace,
        span,
        value,
        at,
    } = it;
    let (seconds, millis) = (at / 1_000_000_000, at / 1_000_000 % 1_000);
    let _ = write!(
        page,
        " # {{trace_id=\"{trace:032x}\",span_id=\"{span:016x}\"}} {} {seconds}.{millis:03}",
        value_of(value)
    );
}

/// A bound as the specification writes it: `1.0`, not `1`.
fn number(bound: f64) -> String {
    format!("{bound:?}")
}

fn value_of(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.into();
    }
    value.to_string()
}

#[cfg(test)]
mod tests {
    use metrics::{counter, gauge, histogram, with_local_recorder};
    use tracing::Span;
    use tracing::subscriber::with_default;
    use uuid::Uuid;
    use wingbeat_core::TraceParent;

    use super::*;
    use crate::telemetry::Context;

    fn prefers(accept: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().expect("it is a header"));
        is_preferred(&headers)
    }

    #[test]
    fn a_scraper_gets_the_format_that_it_prefers() {
        assert!(!is_preferred(&HeaderMap::new()));
        assert!(!prefers("*/*") && !prefers("text/plain;version=0.0.4"));
        assert!(prefers("application/openmetrics-text"));
        let prometheus = "application/openmetrics-text;version=1.0.0,\
             application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5";
        assert!(prefers(prometheus));
        assert!(!prefers(
            "text/plain;q=0.9, application/openmetrics-text; version=1.0.0; q=0.5"
        ));
        assert!(!prefers("application/openmetrics-text;version=0.0.1"));
        assert!(!prefers("application/openmetrics-text;q=0"));
    }

    #[test]
    fn the_page_has_the_samples_and_an_exemplar_on_its_bucket() {
        let recorder = Recorder::default();
        let trace = TraceParent::of(Uuid::from_u128(0xab)).child(5);
        let work = Box::pin(async { histogram!("batch_size", "service" => "shop").record(3.0) });
        with_local_recorder(&recorder, || {
            metrics::describe_counter!("orders_total", "of all \"kinds\"");
            counter!("orders_total", "outcome" => "paid").increment(2);
            counter!("seen").increment(1);
            gauge!("depth").set(2.5);
            histogram!("batch_size", "service" => "shop").record(600.0);
            with_default(tracing_subscriber::registry(), || {
                let within = Context::at(trace).run(Span::none(), work);
                futures_util::FutureExt::now_or_never(within).expect("it ends");
            });
        });
        let page = render(&recorder.families(), &recorder);
        for line in [
            "# TYPE orders counter",
            "# HELP orders of all \\\"kinds\\\"",
            "orders_total{outcome=\"paid\"} 2",
            "# TYPE seen unknown",
            "seen 1",
            "depth 2.5",
            "batch_size_bucket{service=\"shop\",le=\"2.0\"} 0",
            "batch_size_bucket{service=\"shop\",le=\"+Inf\"} 2",
            "batch_size_sum{service=\"shop\"} 603",
            "batch_size_count{service=\"shop\"} 2",
        ] {
            assert!(page.lines().any(|it| it == line), "{line}: {page}");
        }
        let with = "batch_size_bucket{service=\"shop\",le=\"4.0\"} 1 # \
             {trace_id=\"000000000000000000000000000000ab\",span_id=\"0000000000000005\"} 3 ";
        let lines: Vec<&str> = page.lines().filter(|it| it.contains(" # {")).collect();
        assert_eq!(lines.len(), 1, "{page}");
        let time = lines[0].strip_prefix(with).expect("it is on its bucket");
        assert!(time.parse::<f64>().is_ok_and(|it| it > 1.7e9), "{time}");
        assert!(
            page.ends_with("\n# EOF\n") && !page.contains("\n\n"),
            "{page}"
        );
    }
}
