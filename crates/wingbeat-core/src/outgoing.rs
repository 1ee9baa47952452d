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
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Header names and values, in the order of the response. A name may occur repeatedly.
    pub headers: Vec<(String, String)>,
    /// The body, at most 1 MiB. A client treats a longer one as an incomplete response.
    pub body: Bytes,
}

impl Response {
    /// Returns the first value of a header. The case of the name does not matter.
    ///
    /// ```
    /// use wingbeat_core::outgoing::Response;
    ///
    /// let headers = vec![("retry-after".into(), "120".into())];
    /// let response = Response { status: 503, headers, ..Response::default() };
    /// assert_eq!(response.header("Retry-After"), Some("120"));
    /// ```
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(other, _)| other.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// A client that sends HTTP requests.
pub trait HttpClient: Send + Sync + 'static {
    /// Sends one request and returns the response. Redirects are not followed.
    ///
    /// # Errors
    ///
    /// `no_answer` (retry) if no complete response arrived within the timeout: the outside system
    /// may or may not have acted on the request. `tls_failed` (retry) if the server does not speak
    /// TLS, its certificate is not valid, or it refuses the client's. `bad_request` (reject) if the
    /// method, the URL or a header is invalid.
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response>>;
}
