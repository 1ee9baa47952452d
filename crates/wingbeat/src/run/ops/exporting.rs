//! The metrics of `/metrics`, sent to a collector at an interval.

use std::time::Duration;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1 as otlp;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{exemplar, number_data_point};
use prometheus::proto::{LabelPair, Metric, MetricFamily, MetricType};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::Metrics;
use super::exemplars::{Exemplar, nanos_now};
use crate::telemetry::otlp::{Points, Value, attribute};

/// The longest time for which an ending process sends its last values.
const LAST_WITHIN: Duration = Duration::from_secs(3);

/// The task that sends the metrics of a process.
pub(in crate::run) struct Exporting {
    end: watch::Sender<bool>,
    task: JoinHandle<()>,
}

#[allow(
    clippy::disallowed_methods,
    reason = "a real process: its clock is the machine's"
)]
impl Exporting {
    /// Sends the metrics at this interval.
    pub(in crate::run) fn start(metrics: Metrics, to: Points, interval: Duration) -> Self {
        let (end, ended) = watch::channel(false);
        let task = tokio::spawn(send(metrics, to, interval, ended));
        Self { end, task }
    }

    /// Sends the last values and ends, within three seconds.
    pub(in crate::run) async fn finish(mut self) {
        self.end.send_replace(true);
        if tokio::time::timeout(LAST_WITHIN, &mut self.task)
            .await
            .is_err()
        {
            self.task.abort();
        }
    }
}

#[allow(
    clippy::disallowed_methods,
    reason = "a real process: its clock is the machine's"
)]
async fn send(
    metrics: Metrics,
    mut to: Points,
    interval: Duration,
    mut ended: watch::Receiver<bool>,
) {
    let start = nanos_now();
    loop {
        let is_last = tokio::select! {
            biased;
            _ = ended.changed() => true,
            () = tokio::time::sleep(interval) => false,
        };
        let time = Time {
            start,
            now: nanos_now(),
        };
        let families = metrics.families().await;
        let families = families.iter();
        let all = families.map(|family| time.metric(family, &metrics));
        to.send(all.collect()).await;
        if is_last {
            return;
        }
    }
}

/// The time of values in nanoseconds since 1970: since when they are cumulated, and when they were
/// read.
#[derive(Clone, Copy)]
struct Time {
    start: u64,
    now: u64,
}

const CUMULATIVE: i32 = otlp::AggregationTemporality::Cumulative as i32;

impl Time {
    fn metric(self, family: &MetricFamily, metrics: &Metrics) -> otlp::Metric {
        let name = family.name();
        let all = family.get_metric().iter();
        let data = match family.get_field_type() {
            MetricType::COUNTER => Data::Sum(otlp::Sum {
                data_points: all
                    .map(|it| self.number(it, it.get_counter().get_value()))
                    .collect(),
                aggregation_temporality: CUMULATIVE,
                is_monotonic: true,
            }),
            MetricType::HISTOGRAM => Data::Histogram(otlp::Histogram {
                data_points: all.map(|it| self.histogram(name, it, metrics)).collect(),
                aggregation_temporality: CUMULATIVE,
            }),
            _ => Data::Gauge(otlp::Gauge {
                data_points: all
                    .map(|it| self.number(it, it.get_gauge().get_value()))
                    .collect(),
            }),
        };
        otlp::Metric {
            name: name.into(),
            description: family.help().into(),
            unit: unit(name).into(),
            data: Some(data),
            ..otlp::Metric::default()
        }
    }

    fn number(self, metric: &Metric, value: f64) -> otlp::NumberDataPoint {
        otlp::NumberDataPoint {
            attributes: attributes(metric),
            start_time_unix_nano: self.start,
            time_unix_nano: self.now,
            value: Some(number_data_point::Value::AsDouble(value)),
            ..otlp::NumberDataPoint::default()
        }
    }

    fn histogram(self, name: &str, metric: &Metric, all: &Metrics) -> otlp::HistogramDataPoint {
        let histogram = metric.get_histogram();
        let count = histogram.get_sample_count();
        let buckets = histogram.get_bucket().iter();
        let mut below = 0;
        let mut counts: Vec<u64> = buckets
            .clone()
            .map(|it| {
                let upto = it.cumulative_count();
                upto.saturating_sub(std::mem::replace(&mut below, upto))
            })
            .collect();
        counts.push(count.saturating_sub(below));
        let exemplars = all.recorder.exemplars(name, metric.get_label());
        let exemplars = exemplars.iter().flat_map(|it| it.all());
        otlp::HistogramDataPoint {
            attributes: attributes(metric),
            start_time_unix_nano: self.start,
            time_unix_nano: self.now,
            count,
            sum: Some(histogram.get_sample_sum()),
            bucket_counts: counts,
            explicit_bounds: buckets.map(|it| it.upper_bound()).collect(),
            exemplars: exemplars.map(exemplar).collect(),
            ..otlp::HistogramDataPoint::default()
        }
    }
}

fn exemplar(it: Exemplar) -> otlp::Exemplar {
    otlp::Exemplar {
        time_unix_nano: it.at,
        trace_id: it.trace.to_be_bytes().into(),
        span_id: it.span.to_be_bytes().into(),
        value: Some(exemplar::Value::AsDouble(it.value)),
        ..otlp::Exemplar::default()
    }
}

fn attributes(metric: &Metric) -> Vec<KeyValue> {
    let text = |it: &LabelPair| attribute(it.name(), Value::StringValue(it.value().into()));
    metric.get_label().iter().map(text).collect()
}

/// Returns the unit that a name ends with, as UCUM writes it.
fn unit(name: &str) -> &'static str {
    let base = name.strip_suffix("_total").unwrap_or(name);
    if base.ends_with("_seconds") {
        "s"
    } else if base.ends_with("_bytes") {
        "By"
    } else {
        ""
    }
}
