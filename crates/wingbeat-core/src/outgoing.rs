//! The port for HTTP requests to outside systems. Only executors of calls use it.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::Result;

/// A request to an outside system.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method, such as `GET` or `POST`.
    pub method: &'static str,
    /// An absolute URL.
    pub url: String,
    /// Header names and values.
    pub headers: Vec<(String, String)>,
    /// The body; empty for none.
    pub body: Bytes,
    /// The limit for the whole exchange: connecting, sending, and reading the response.
    pub timeout: Duration,
}

/// The response of an outside system, with any status.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The body, at most 1 MiB. A client treats a longer one as an incomplete response.
    pub body: Bytes,
}

/// A client that sends HTTP requests.
pub trait HttpClient: Send + Sync + 'static {
    /// Sends one request and returns the response. Redirects are not followed.
    ///
    /// # Errors
    ///
    /// `no_answer` (retry) if no complete response arrived within the timeout: the outside system
    /// may or may not have acted on the request. `bad_request` (reject) if the method, the URL or a
    /// header is invalid.
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response>>;
}
