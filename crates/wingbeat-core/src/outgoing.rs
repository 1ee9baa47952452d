//! The port for HTTP to the outside world. Only call executors use it.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::Result;

/// A request to an outside system.
#[derive(Clone, Debug)]
pub struct Request {
    /// `GET`, `POST`, …
    pub method: &'static str,
    /// An absolute URL.
    pub url: String,
    /// Header names and values.
    pub headers: Vec<(String, String)>,
    /// The body; empty for none.
    pub body: Bytes,
    /// How long to wait for the whole answer.
    pub timeout: Duration,
}

/// What the outside system answered, whatever the status.
#[derive(Clone, Debug)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The body, at most 1 MiB.
    pub body: Bytes,
}

/// Sends HTTP requests.
pub trait HttpClient: Send + Sync + 'static {
    /// Sends one request.
    ///
    /// # Errors
    ///
    /// [`crate::Class::Retry`] when no complete answer came: whether the other side acted is *unknown*.
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response>>;
}
