//! Metrics of one moment. They are not kept between scrapes: a value that could not be read is
//! absent, not out of date.

use std::collections::BTreeMap;

use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

use super::catalogue::written;

/// Metrics by name.
#[derive(Default)]
pub(super) struct Page(BTreeMap<&'static str, (MetricType, Vec<Metric>)>);

type Labels<'a> = [(&'a str, &'a str)];

impl Page {
    /// Adds a gauge.
    pub(super) fn gauge(&mut self, name: &'static str, labels: &Labels<'_>, value: f64) {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        let mut metric = Metric::from_label(pairs(labels));
        metric.set_gauge(gauge);
        self.add(name, MetricType::GAUGE, metric);
    }

    /// Adds a counter that the store keeps.
    pub(super) fn counter(&mut self, name: &'static str, labels: &Labels<'_>, value: f64) {
        let mut counter = Counter::default();
        counter.set_value(value);
        let mut metric = Metric::from_label(pairs(labels));
        metric.set_counter(counter);
        self.add(name, MetricType::COUNTER, metric);
    }

    fn add(&mut self, name: &'static str, kind: MetricType, metric: Metric) {
        let (_, metrics) = self.0.entry(name).or_insert_with(|| (kind, Vec::new()));
        metrics.push(metric);
    }

    /// Returns the metrics, with the descriptions of the documented ones.
    pub(super) fn families(self) -> Vec<MetricFamily> {
        let family = |(name, (kind, metrics)): (&str, _)| {
            let mut family = MetricFamily::default();
            family.set_name(name.to_owned());
            if let Some(known) = written().find(|it| it.name == name) {
                family.set_help(known.meaning.to_owned());
            }
            family.set_field_type(kind);
            family.set_metric(metrics);
            family
        };
        self.0.into_iter().map(family).collect()
    }
}

fn pairs(labels: &Labels<'_>) -> Vec<LabelPair> {
    let pair = |(name, value): &(&str, &str)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    };
    labels.iter().map(pair).collect()
}

/// Escapes the text of a label or a description.
pub(super) fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use prometheus::TextEncoder;

    use super::*;

    #[test]
    fn the_lines_of_a_metric_follow_one_type_line() {
        let mut page = Page::default();
        page.gauge("wingbeat_up", &[], 1.0);
        page.gauge("wingbeat_age_seconds", &[("service", "a\"b\\")], 0.25);
        page.gauge(
            "wingbeat_age_seconds",
            &[("service", "c"), ("kind", "timer")],
            3.0,
        );
        page.counter("wingbeat_kept_total", &[], 7.0);
        let expected = "# TYPE wingbeat_age_seconds gauge\n\
             wingbeat_age_seconds{service=\"a\\\"b\\\\\"} 0.25\n\
             wingbeat_age_seconds{service=\"c\",kind=\"timer\"} 3\n\
             # TYPE wingbeat_kept_total counter\n\
             wingbeat_kept_total 7\n\
             # TYPE wingbeat_up gauge\n\
             wingbeat_up 1\n";
        let text = TextEncoder::new().encode_to_string(&page.families());
        assert_eq!(text.expect("it can be written"), expected);
    }
}
