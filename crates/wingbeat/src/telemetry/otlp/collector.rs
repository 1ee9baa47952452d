//! The client of the collector.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Limited};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;

use wingbeat_core::tls::TlsFiles;

use super::layer::{Ended, Value, attribute};
use super::metric;
use crate::BaseUrl;
use crate::connections::Connections;

/// The collector's path for traces.
const PATH: &str = "/v1/traces";
/// The time limit of a connection attempt.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// The time limit for a batch to be accepted. Until then further spans are queued.
const ACCEPTED_WITHIN: Duration = Duration::from_secs(5);
/// The largest response that the client reads. Unread responses would prevent the reuse of the
/// connection.
const ANSWER_MAX: usize = 64 << 10;

/// The address is not the URL of a collector, or its TLS settings cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotCollector {
    /// The address is not such a URL.
    #[error("not the address of a collector, such as http://localhost:4318: {0}")]
    Address(String),
    /// `tls_invalid`, or `not_built` without the feature `https`.
    #[error("{0}")]
    Tls(wingbeat_core::Error),
}

/// A client of the collector.
pub(super) struct Collector {
    connections: Connections,
    uri: Uri,
    unavailable: bool,
}

impl Collector {
    pub(super) fn at(address: &str, tls: &TlsFiles) -> Result<Self, NotCollector> {
        let uri = Self::url(address)?;
        let connections = Connections::new(CONNECT_WITHIN, tls.clone());
        if uri.scheme_str() == Some("https") {
            connections.prepare_tls().map_err(NotCollector::Tls)?;
        }
        Ok(Self {
            connections,
            uri,
            unavailable: false,
        })
    }

    /// Returns the URL to which spans are sent. The address may contain its path.
    pub(super) fn url(address: &str) -> Result<Uri, NotCollector> {
        let base: BaseUrl = address.parse().map_err(NotCollector::Address)?;
        let base = base.as_str().trim_end_matches(PATH);
        let not_a_url = |_| NotCollector::Address("it is not a URL".into());
        format!("{base}{PATH}").parse().map_err(not_a_url)
    }

    /// Sends a batch once. Spans that the collector does not accept are dropped and counted.
    pub(super) async fn take(&mut self, spans: Vec<Ended>) {
        if spans.is_empty() {
            return;
        }
        let count = spans.len() as u64;
        let body = request(spans).encode_to_vec();
        let accepted = tokio::time::timeout(ACCEPTED_WITHIN, self.post(body.into())).await;
        let accepted = accepted.unwrap_or_else(|_| Err("no answer in time".into()));
        let outcome = if accepted.is_ok() { "sent" } else { "failed" };
        metrics::counter!(metric::SPANS, metric::OUTCOME => outcome).increment(count);
        match accepted {
            Ok(()) if self.unavailable => tracing::info!("the collector accepts spans again"),
            Err(why) if !self.unavailable => {
                tracing::warn!("the collector does not accept spans, dropping them: {why}");
            }
            _ => {}
        }
        self.unavailable = outcome == "failed";
    }

    async fn post(&self, body: Bytes) -> Result<(), String> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(self.uri.clone())
            .header(header::CONTENT_TYPE, "application/x-protobuf")
            .body(body)
            .map_err(|why| why.to_string())?;
        let answer = self.connections.send(request).await;
        let answer = answer.map_err(|why| why.to_string())?;
        let status = answer.status();
        let rest = Limited::new(answer.into_body(), ANSWER_MAX).collect();
        rest.await.map_err(|why| why.to_string())?;
        match status {
            StatusCode::OK => Ok(()),
            other => Err(format!("status {other}")),
        }
    }
}

/// Groups the spans by service: a process may run several.
fn request(spans: Vec<Ended>) -> ExportTraceServiceRequest {
    let mut by_service = BTreeMap::<String, Vec<Span>>::new();
    for Ended { service, span } in spans {
        by_service.entry(service).or_default().push(span);
    }
    let resource_spans = by_service.into_iter().map(|(service, spans)| {
        let attributes = vec![
            attribute("service.name", Value::StringValue(service)),
            attribute("service.namespace", Value::StringValue("wingbeat".into())),
            attribute("process.pid", Value::IntValue(std::process::id().into())),
        ];
        let scope = InstrumentationScope {
            name: "wingbeat".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            ..InstrumentationScope::default()
        };
        ResourceSpans {
            resource: Some(Resource {
                attributes,
                ..Resource::default()
            }),
            scope_spans: vec![ScopeSpans {
                scope: Some(scope),
                spans,
                ..ScopeSpans::default()
            }],
            ..ResourceSpans::default()
        }
    });
    ExportTraceServiceRequest {
        resource_spans: resource_spans.collect(),
    }
}
