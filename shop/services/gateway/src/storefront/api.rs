//! The shop's HTTP API as the pages call it: in-process, as the visitor, and never for long.

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

/// A page waits this long for one answer, then says that the service is away and tries again:
/// longer than any healthy read, shorter than a visitor's patience.
const WAIT_MAX: Duration = Duration::from_secs(4);

/// The largest answer read: 100 orders or products with long texts stay well below it.
const BODY_BYTES_MAX: usize = 1 << 20;

/// What the visitor's request lends to ours: who it is, and the trace that it belongs to.
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
}

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApiError {
    /// Nobody is signed in, or the session has ended.
    #[error("no session")]
    Unauthenticated,
    /// There is no such thing, or it is somebody else's.
    #[error("not found")]
    NotFound,
    /// The request was wrong: a bad cursor, a search that is too long.
    #[error("refused with {0}")]
    Refused(StatusCode),
    /// The service behind the route is away, late, or makes no sense. Worth another try.
    #[error("away")]
    Away,
}

impl Api {
    pub(super) fn new(router: Router) -> Self {
        Self { router }
    }

    /// Reads `path` (with its query) as the visitor who sent `visitor`.
    #[expect(
        clippy::disallowed_methods,
        reason = "pages are drawn for browsers, at the edge, where the simulation does not reach"
    )]
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        visitor: &Parts,
    ) -> Result<T, ApiError> {
        let request = request(path, visitor).ok_or(ApiError::NotFound)?;
        tokio::time::timeout(WAIT_MAX, self.answer(request))
            .await
            .unwrap_or(Err(ApiError::Away))
    }

    async fn answer<T: DeserializeOwned>(&self, request: Request<Body>) -> Result<T, ApiError> {
        let Ok(response) = self.router.clone().oneshot(request).await;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED => return Err(ApiError::Unauthenticated),
            StatusCode::NOT_FOUND => return Err(ApiError::NotFound),
            StatusCode::TOO_MANY_REQUESTS => return Err(ApiError::Away),
            refused if refused.is_client_error() => return Err(ApiError::Refused(refused)),
            _ => return Err(ApiError::Away),
        }
        let body = Limited::new(response.into_body(), BODY_BYTES_MAX);
        let bytes = body.collect().await.map_err(|_| ApiError::Away)?.to_bytes();
        serde_json::from_slice(&bytes).map_err(|_| ApiError::Away)
    }
}

/// A GET of `path` that carries the visitor's identity; `None` if `path` is no valid URI.
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

/// Percent-encodes `text` for one path segment or query value (RFC 3986, all but unreserved).
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
    fn everything_with_a_meaning_in_a_url_is_encoded() {
        assert_eq!(encode("a-Z_0.~"), "a-Z_0.~");
        assert_eq!(encode("x&y=ä/.."), "x%26y%3D%C3%A4%2F..");
    }
}
