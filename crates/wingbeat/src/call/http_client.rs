//! The HTTP client for outside systems.
#![allow(
    clippy::disallowed_methods,
    reason = "this is the adapter behind the port for outside HTTP"
)]

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::HeaderMap;
use http_body_util::{BodyExt as _, Limited};
use tokio::sync::Semaphore;
use wingbeat_core::outgoing::{Request, Response};
use wingbeat_core::tls::TlsFiles;
use wingbeat_core::{Error, HttpClient, Result};

use crate::connections::Connections;
use crate::runtime::Descriptors;

/// The largest response body that is read, in bytes.
const RESPONSE_MAX: usize = 1 << 20;
/// The time limit of a connection attempt.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// An HTTP/1.1 client with a connection pool, for [`Ports::http`](crate::Ports::http).
///
/// Connecting takes at most 2 s, a response body at most 1 MiB. `https` URLs need the feature
/// `https`; certificates are always checked.
pub struct HyperClient {
    connections: Connections,
    /// One for each concurrent request. Clients of this process must find descriptors too.
    places: Semaphore,
}

impl HyperClient {
    /// Creates a client with its own pool. It trusts the authorities of the operating system, which
    /// are read at the first `https` request.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Self::with_tls(TlsFiles::default())
    }

    /// Creates a client with these TLS settings. The files are read at the first `https` request,
    /// or by [`prepare_tls`](Self::prepare_tls).
    #[must_use]
    pub fn with_tls(tls: TlsFiles) -> Arc<Self> {
        Arc::new(Self {
            connections: Connections::new(CONNECT_WITHIN, tls),
            places: Semaphore::new(Descriptors::of_process().outgoing),
        })
    }

    /// Reads the files of the TLS settings, so that a wrong one is reported now.
    ///
    /// # Errors
    ///
    /// `tls_invalid` if a file cannot be used; `not_built` without the feature `https`.
    pub fn prepare_tls(&self) -> Result<()> {
        self.connections.prepare_tls()
    }
}

impl HttpClient for HyperClient {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response>> {
        Box::pin(async move {
            let mut builder = http::Request::builder()
                .method(request.method)
                .uri(&request.url);
            for (name, value) in &request.headers {
                builder = builder.header(name, value);
            }
            let outgoing = builder.body(request.body).map_err(|why| {
                Error::reject("bad_request", "the request cannot be built").because(why)
            })?;
            let exchange = async {
                let _place = self.places.acquire().await;
                let response = self.connections.send(outgoing).await;
                let response = response.map_err(|why| why.error)?;
                let status = response.status().as_u16();
                let headers = headers(response.headers());
                let body = Limited::new(response.into_body(), RESPONSE_MAX)
                    .collect()
                    .await;
                let body = body
                    .map_err(|why| {
                        Error::retry("no_answer", format!("the response is incomplete: {why}"))
                    })?
                    .to_bytes();
                Ok(Response {
                    status,
                    headers,
                    body,
                })
            };
            tokio::time::timeout(request.timeout, exchange)
                .await
                .unwrap_or_else(|_| Err(no_answer_in_time()))
        })
    }
}

/// Converts headers, which the client has limited to 100. Bytes outside of UTF-8 are replaced.
fn headers(of: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let all = of.iter();
    all.map(|(name, value)| (name.as_str().to_owned(), text(value)))
        .collect()
}

fn no_answer_in_time() -> Error {
    Error::retry(
        "no_answer",
        "no complete response arrived in time: the outcome is unknown",
    )
}
