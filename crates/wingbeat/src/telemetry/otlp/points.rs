//! Sends the values of metrics.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Metric, ResourceMetrics, ScopeMetrics};
use prost::Message as _;
use wingbeat_core::tls::TlsFiles;

use super::Signal;
use super::collector::{Collector, NotCollector};
use super::resource::{resource, scope};

/// A client of the collector for the metrics of a process.
pub(crate) struct Points {
    collector: Collector,
    service: String,
}

impl Points {
    /// Makes a client that sends metrics of this service to this URL.
    pub(crate) fn to(url: &str, service: &str, tls: &TlsFiles) -> Result<Self, NotCollector> {
        Ok(Self {
            collector: Collector::at(url, Signal::Metrics, tls)?,
            service: service.to_owned(),
        })
    }

    /// Sends the metrics once. The next values contain those that were not accepted.
    pub(crate) async fn send(&mut self, metrics: Vec<Metric>) {
        let count = metrics.iter().map(points).sum();
        let resource_metrics = vec![ResourceMetrics {
            resource: Some(resource(&self.service)),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(scope()),
                metrics,
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }];
        let request = ExportMetricsServiceRequest { resource_metrics };
        self.collector.take(request.encode_to_vec(), count).await;
    }
}

fn points(metric: &Metric) -> usize {
    match &metric.data {
        Some(Data::Gauge(it)) => it.data_points.len(),
        Some(Data::Sum(it)) => it.data_points.len(),
        Some(Data::Histogram(it)) => it.data_points.len(),
        _ => 0,
    }
}
