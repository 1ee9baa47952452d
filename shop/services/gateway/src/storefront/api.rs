//! The client of the shop's HTTP API for the pages: in-process, as the visitor, and with a timeout.

use std::{fmt::Write as _, net::SocketAddr, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    http::{HeaderName, Request, StatusCode, header, request::Parts},
};
use http_body_util::{BodyExt as _, Limited};
use serde::de::DeserializeOwned;
use tower::ServiceExt as _;

/// The timeout of one request. It is longer than any healthy read and shorter than a visitor's
/// patience. The page then reports that the service is unavailable.
const WAIT_MAX: Duration = Duration::from_secs(4);

/// The largest reply in bytes. 100 orders, or products with long texts, are much smaller.
const BODY_BYTES_MAX: usize = 1 << 20;

/// The headers that the request takes over from the visitor's: the identity and the trace.
const FORWARDED: [HeaderName; 4] = [
    header::COOKIE,
    header::HOST,
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("x-forwarded-for"),
];

/// The API router, called without a socket.
#[derive(Clone)]
pub(super) struct Api {
    router: Router,
    /// `/dev` is there: the pages show the tools that break things.
    pub(super) has_dev: bool,
}

/// The reason why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// There is no session, or it has ended.
    #[error("no session")]
    Unauthenticated,
    /// The object does not exist or belongs to another user.
    #[error("not found")]
    NotFound,
    /// The request is invalid, for example a bad cursor or a search that is too long.
    #[error("refused with {0}")]
    Refused(StatusCode),
    /// The service is unavailable, timed out, or sent an invalid reply. A retry can succeed.
    #[error("unavailable")]
    Unavailable,
}

impl Api {
    pub(super) fn new(router: Router, has_dev: bool) -> Self {
        Self { router, has_dev }
    }

    /// Reads a path, with its query, as the visitor who sent the request `visitor`.
    #[expect(
        clippy::disallowed_methods,
        reason = "pages are rendered outside of the simulation"
    )]
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        visitor: &Parts,
    ) -> Result<T, ApiError> {
        let request = request(path, visitor).ok_or(ApiError::NotFound)?;
        tokio::time::timeout(WAIT_MAX, self.answer(request))
            .await
            .unwrap_or(Err(ApiError::Unavailable))
    }

    async fn answer<T: DeserializeOwned>(&self, request: Request<Body>) -> Result<T, ApiError> {
        let Ok(response) = self.router.clone().oneshot(request).await;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED => return Err(ApiError::Unauthenticated),
            StatusCode::NOT_FOUND => return Err(ApiError::NotFound),
            StatusCode::TOO_MANY_REQUESTS => return Err(ApiError::Unavailable),
            refused if refused.is_client_error() => return Err(ApiError::Refused(refused)),
            _ => return Err(ApiError::Unavailable),
        }
        let body = Limited::new(response.into_body(), BODY_BYTES_MAX);
        let bytes = body
            .collect()
            .await
            .map_err(|_| ApiError::Unavailable)?
            .to_bytes();
        serde_json::from_slice(&bytes).map_err(|_| ApiError::Unavailable)
    }
}

/// Builds a GET request with the visitor's identity; `None` if the path is not a valid URI.
fn request(path: &str, visitor: &Parts) -> Option<Request<Body>> {
    let mut request = Request::get(path).body(Body::empty()).ok()?;
    for name in FORWARDED {
        for value in visitor.headers.get_all(&name) {
            request.headers_mut().append(&name, value.clone());
        }
    }
    if let Some(peer) = visitor.extensions.get::<ConnectInfo<SocketAddr>>() {
        request.extensions_mut().insert(*peer);
    }
    Some(request)
}

/// Percent-encodes text for a path segment or a query value (RFC 3986: all but unreserved
/// characters).
pub(super) fn encode(text: &str) -> String {
    text.bytes()
        .fold(String::with_capacity(text.len()), |mut encoded, byte| {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    encoded.push(char::from(byte));
                }
                _ => write!(encoded, "%{byte:02X}").expect("a String takes every write"),
            }
            encoded
        })
}

#[cfg(test)]
mod tests {
    use super::encode;

    #[test]
    fn reserved_characters_are_encoded() {
        assert_eq!(encode("a-Z_0.~"), "a-Z_0.~");
        assert_eq!(encode("x&y=ä/.."), "x%26y%3D%C3%A4%2F..");
    }
}
