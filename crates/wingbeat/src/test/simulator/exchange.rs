//! Requests of clients and their answers.

use axum::body::{Body, to_bytes};
use axum::http::Request;
use serde_json::Value;
use wingbeat_core::Timestamp;

/// The size limit of an answer, in bytes.
const ANSWER_MAX: usize = 1 << 20;

/// A request of a client.
///
/// ```
/// use wingbeat::serde_json::json;
/// use wingbeat::test::simulator::Ask;
///
/// let booking = Ask::post("hotel", "/bookings", json!({ "room": "blue" }))
///     .idempotency_key("booking-1")
///     .session("the token of a session");
/// assert_eq!((booking.method, &*booking.path), ("POST", "/bookings"));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    /// The service whose routes answer it.
    pub service: &'static str,
    /// `GET`, `POST`, …
    pub method: &'static str,
    /// Path and query.
    pub path: String,
    /// The token of the session; empty for none.
    pub token: String,
    /// The idempotency key; empty for none.
    pub key: String,
    /// The JSON body; `Null` for none.
    pub body: Value,
}

impl Ask {
    /// Creates a GET request.
    #[must_use]
    pub fn get(service: &'static str, path: impl Into<String>) -> Self {
        Self::new(service, "GET", path)
    }

    /// Creates a POST request.
    #[must_use]
    pub fn post(service: &'static str, path: impl Into<String>, body: Value) -> Self {
        Self {
            body,
            ..Self::new(service, "POST", path)
        }
    }

    /// Creates a request without a body.
    #[must_use]
    pub fn new(service: &'static str, method: &'static str, path: impl Into<String>) -> Self {
        Self {
            service,
            method,
            path: path.into(),
            token: String::new(),
            key: String::new(),
            body: Value::Null,
        }
    }

    /// Sets the idempotency key.
    #[must_use]
    pub fn idempotency_key(self, key: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            ..self
        }
    }

    /// Sets the token of the session.
    #[must_use]
    pub fn session(self, token: impl Into<String>) -> Self {
        Self {
            token: token.into(),
            ..self
        }
    }

    pub(super) fn request(&self) -> Request<Body> {
        let mut request = Request::builder().method(self.method).uri(&self.path);
        if !self.token.is_empty() {
            request = request.header("authorization", format!("Bearer {}", self.token));
        }
        if !self.key.is_empty() {
            request = request.header("idempotency-key", &self.key);
        }
        let body = match &self.body {
            Value::Null => Body::empty(),
            body => {
                request = request.header("content-type", "application/json");
                Body::from(body.to_string())
            }
        };
        request.body(body).expect("a request")
    }
}

/// The answer that a client received.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A status and JSON (`Null` if the body was not JSON).
    Status(u16, Value),
    /// No answer. The service may have handled the request.
    Unknown,
    /// No replica was running, so no service handled the request.
    Unreachable,
}

impl Answer {
    /// Returns the status, or 0 without an answer.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Status(status, _) => *status,
            Self::Unknown | Self::Unreachable => 0,
        }
    }

    /// Returns the body, or `Null` without an answer.
    #[must_use]
    pub fn body(&self) -> &Value {
        match self {
            Self::Status(_, body) => body,
            Self::Unknown | Self::Unreachable => &Value::Null,
        }
    }
}

/// A request and its answer, as recorded by the client.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Exchange {
    /// The client's number.
    pub client: usize,
    /// The time of the request.
    pub asked_at: Timestamp,
    /// The time of the answer or of the timeout.
    pub answered_at: Timestamp,
    /// The request.
    pub ask: Ask,
    /// The answer.
    pub answer: Answer,
}

pub(super) async fn read(response: axum::response::Response) -> Answer {
    let status = response.status().as_u16();
    match to_bytes(response.into_body(), ANSWER_MAX).await {
        Ok(body) => Answer::Status(status, serde_json::from_slice(&body).unwrap_or(Value::Null)),
        Err(_) => Answer::Unknown,
    }
}
