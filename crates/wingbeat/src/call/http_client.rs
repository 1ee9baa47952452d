//! The HTTP client for outside systems.
#![allow(
    clippy::disallowed_methods,
    reason = "this is the adapter behind the port for outside HTTP"
)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::Semaphore;
use wingbeat_core::outgoing::{Request, Response};
use wingbeat_core::{Error, HttpClient, Result};

use crate::runtime::Descriptors;

/// The largest response body that is read, in bytes.
const RESPONSE_MAX: usize = 1 << 20;

/// An HTTP/1.1 client with a connection pool, for [`Ports::http`](crate::Ports::http).
///
/// Connecting takes at most 2 s, a response body at most 1 MiB. It speaks plain HTTP: TLS is left
/// to a proxy.
pub struct HyperClient {
    client: Client<HttpConnector, Full<Bytes>>,
    /// One for each concurrent request. Clients of this process must find descriptors too.
    places: Semaphore,
}

impl HyperClient {
    /// Creates a client with its own pool.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_secs(2)));
        Arc::new(Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
            places: Semaphore::new(Descriptors::of_process().outgoing),
        })
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
            let outgoing = builder.body(Full::new(request.body)).map_err(|why| {
                Error::reject("bad_request", "the request cannot be built").because(why)
            })?;
            let exchange = async {
                let _place = self.places.acquire().await;
                let response = self
                    .client
                    .request(outgoing)
                    .await
                    .map_err(|why| unknown().because(why))?;
                let status = response.status().as_u16();
                let body = Limited::new(response.into_body(), RESPONSE_MAX)
                    .collect()
                    .await;
                let body = body
                    .map_err(|why| {
                        Error::retry("no_answer", format!("the response is incomplete: {why}"))
                    })?
                    .to_bytes();
                Ok(Response { status, body })
            };
            tokio::time::timeout(request.timeout, exchange)
                .await
                .unwrap_or_else(|_| Err(unknown()))
        })
    }
}

fn unknown() -> Error {
    Error::retry(
        "no_answer",
        "no complete response arrived: the outcome is unknown",
    )
}
