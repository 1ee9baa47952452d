//! The client of the collector.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Limited};

use wingbeat_core::tls::TlsFiles;

use super::{Signal, metric};
use crate::BaseUrl;
use crate::connections::Connections;

/// The time limit of a connection attempt.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// The time limit for a batch to be accepted. Until then further items are queued.
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

/// A client of the collector, for one signal.
pub(super) struct Collector {
    connections: Connections,
    uri: Uri,
    signal: Signal,
    unavailable: bool,
}

impl Collector {
    pub(super) fn at(url: &str, signal: Signal, tls: &TlsFiles) -> Result<Self, NotCollector> {
        let uri = Self::url(url)?;
        let connections = Connections::new(CONNECT_WITHIN, tls.clone());
        if uri.scheme_str() == Some("https") {
            connections.prepare_tls().map_err(NotCollector::Tls)?;
        }
        Ok(Self {
            connections,
            uri,
            signal,
            unavailable: false,
        })
    }

    /// Parses the URL to which a signal is sent.
    pub(super) fn url(url: &str) -> Result<Uri, NotCollector> {
        let url: BaseUrl = url.parse().map_err(NotCollector::Address)?;
        let not_a_url = |_| NotCollector::Address("it is not a URL".into());
        url.as_str().parse().map_err(not_a_url)
    }

    /// Sends a batch of so many items once. Those that the collector does not accept are dropped
    /// and counted. Returns whether it has accepted them.
    pub(super) async fn take(&mut self, body: Vec<u8>, count: usize) -> bool {
        let accepted = tokio::time::timeout(ACCEPTED_WITHIN, self.post(body.into())).await;
        let accepted = accepted.unwrap_or_else(|_| Err("no answer in time".into()));
        let outcome = if accepted.is_ok() { "sent" } else { "failed" };
        let counted = match self.signal {
            Signal::Traces => metric::SPANS,
            Signal::Metrics => metric::METRIC_POINTS,
            Signal::Logs => metric::LOG_RECORDS,
        };
        metrics::counter!(counted, metric::OUTCOME => outcome).increment(count as u64);
        let items = self.signal.items();
        match accepted {
            Ok(()) if self.unavailable => tracing::info!("the collector accepts {items} again"),
            Err(why) if !self.unavailable => {
                tracing::warn!("the collector does not accept {items}, dropping them: {why}");
            }
            _ => {}
        }
        self.unavailable = outcome == "failed";
        !self.unavailable
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
