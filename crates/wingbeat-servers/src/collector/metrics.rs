//! Metrics, with the names that a page of Prometheus gives them.

use std::collections::BTreeMap;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, HistogramDataPoint, Metric, NumberDataPoint, exemplar,
    number_data_point,
};
use prost::Message as _;

use super::{Taking, attribute, hex, is_protobuf, locked, service};

/// The metrics of one export.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Metrics {
    /// The name of the process.
    pub service: String,
    /// The values by series: `name{label="value",…}` with the labels by name. A histogram has
    /// `name_bucket`, `name_sum` and `name_count`, as on a page of Prometheus.
    pub values: BTreeMap<String, f64>,
    /// The names of the cumulative ones: counters and histograms.
    pub cumulative: Vec<String>,
    /// The exemplars of histograms.
    pub exemplars: Vec<Exemplar>,
}

/// A sample of a histogram and its span. Ids are lower-case hexadecimal numbers.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Exemplar {
    /// The name of the histogram.
    pub metric: String,
    /// The id of its trace.
    pub trace: String,
    /// The id of its span.
    pub span: String,
    /// The sample.
    pub value: f64,
}

/// Returns the name of a series: the metric and its labels, by name.
#[must_use]
pub fn series(metric: &str, labels: &BTreeMap<String, String>) -> String {
    let pairs = labels
        .iter()
        .map(|(name, value)| format!("{name}=\"{value}\""));
    let pairs: Vec<String> = pairs.collect();
    format!("{metric}{{{}}}", pairs.join(","))
}

fn labels(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    attributes.into_iter().map(attribute).collect()
}

impl Metrics {
    /// Adds a metric.
    ///
    /// # Errors
    ///
    /// `400` if it is not cumulative, or does not agree with itself.
    fn add(&mut self, metric: Metric) -> Result<(), StatusCode> {
        const CUMULATIVE: i32 = AggregationTemporality::Cumulative as i32;
        let name = metric.name;
        match metric.data {
            Some(Data::Gauge(gauge)) => {
                for point in gauge.data_points {
                    self.number(&name, point)?;
                }
            }
            Some(Data::Sum(sum)) => {
                if sum.aggregation_temporality != CUMULATIVE || !sum.is_monotonic {
                    return Err(StatusCode::BAD_REQUEST);
                }
                for point in sum.data_points {
                    self.number(&name, point)?;
                }
                self.cumulative.push(name);
            }
            Some(Data::Histogram(histogram)) => {
                if histogram.aggregation_temporality != CUMULATIVE {
                    return Err(StatusCode::BAD_REQUEST);
                }
                for point in histogram.data_points {
                    self.histogram(&name, point)?;
                }
                self.cumulative.push(name);
            }
            _ => return Err(StatusCode::BAD_REQUEST),
        }
        Ok(())
    }

    fn number(&mut self, name: &str, point: NumberDataPoint) -> Result<(), StatusCode> {
        let Some(number_data_point::Value::AsDouble(value)) = point.value else {
            return Err(StatusCode::BAD_REQUEST);
        };
        self.put(series(name, &labels(point.attributes)), value)
    }

    fn histogram(&mut self, name: &str, point: HistogramDataPoint) -> Result<(), StatusCode> {
        let counts = point.bucket_counts;
        let is_whole = counts.len() == point.explicit_bounds.len() + 1
            && counts.iter().sum::<u64>() == point.count
            && point.start_time_unix_nano <= point.time_unix_nano;
        let Some(sum) = point.sum.filter(|_| is_whole) else {
            return Err(StatusCode::BAD_REQUEST);
        };
        let labels = labels(point.attributes);
        let bounds = point.explicit_bounds.iter().map(f64::to_string);
        let mut upto = 0;
        for (bound, count) in bounds.chain(["+Inf".to_owned()]).zip(counts) {
            upto += count;
            let mut labels = labels.clone();
            labels.insert("le".into(), bound);
            self.put(series(&format!("{name}_bucket"), &labels), upto as f64)?;
        }
        self.put(series(&format!("{name}_sum"), &labels), sum)?;
        let count = point.count as f64;
        self.put(series(&format!("{name}_count"), &labels), count)?;
        let exemplars = point.exemplars.into_iter().map(|it| Exemplar {
            metric: name.into(),
            trace: hex(&it.trace_id),
            span: hex(&it.span_id),
            value: match it.value {
                Some(exemplar::Value::AsDouble(value)) => value,
                _ => f64::NAN,
            },
        });
        self.exemplars.extend(exemplars);
        Ok(())
    }

    /// Adds a value, unless the series has one already.
    fn put(&mut self, series: String, value: f64) -> Result<(), StatusCode> {
        let before = self.values.insert(series, value);
        before.map_or(Ok(()), |_| Err(StatusCode::BAD_REQUEST))
    }
}

/// Receives an export.
pub(super) async fn take(
    State(taking): State<Taking>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Vec<u8>, StatusCode> {
    is_protobuf(&headers)?;
    let batch = ExportMetricsServiceRequest::decode(body).map_err(|_| StatusCode::BAD_REQUEST)?;
    for resource in batch.resource_metrics {
        let mut all = Metrics {
            service: service(resource.resource)?,
            ..Metrics::default()
        };
        let metrics = resource.scope_metrics.into_iter().flat_map(|it| it.metrics);
        for metric in metrics {
            all.add(metric)?;
        }
        locked(&taking.metrics).push(all);
    }
    taking.count.send_modify(|count| *count += 1);
    Ok(ExportMetricsServiceResponse::default().encode_to_vec())
}
