//! What a client asks, and what it was answered.

use axum::body::{Body, to_bytes};
use axum::http::Request;
use serde_json::Value;
use wingbeat_core::Timestamp;

/// The largest answer a client reads.
const ANSWER_MAX: usize = 1 << 20;

/// A request.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    /// Which service's routes.
    pub service: &'static str,
    /// `GET`, `POST`, …
    pub method: &'static str,
    /// Path and query.
    pub path: String,
    /// The session's token; empty for none.
    pub token: String,
    /// The idempotency key; empty for none.
    pub key: String,
    /// JSON; `Null` for no body.
    pub body: Value,
}

impl Ask {
    /// A read.
    #[must_use]
    pub fn get(service: &'static str, path: impl Into<String>) -> Self {
        Self::new(service, "GET", path)
    }

    /// A write.
    #[must_use]
    pub fn post(service: &'static str, path: impl Into<String>, body: Value) -> Self {
        Self {
            body,
            ..Self::new(service, "POST", path)
        }
    }

    /// A request without a body.
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

    /// The same under an idempotency key.
    #[must_use]
    pub fn under(self, key: impl Into<String>) -> Self {
        Self {
            key: key.into(),
            ..self
        }
    }

    /// The same as this session.
    #[must_use]
    pub fn by(self, token: impl Into<String>) -> Self {
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

/// What a client heard.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// A status and JSON (`Null` when it was none).
    Status(u16, Value),
    /// Nothing: whether the request was handled is unknown.
    Unknown,
    /// Nobody was there: the request was not handled.
    Unreachable,
}

impl Answer {
    /// The status; 0 without an answer.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Status(status, _) => *status,
            Self::Unknown | Self::Unreachable => 0,
        }
    }

    /// The body; `Null` without an answer.
    #[must_use]
    pub fn body(&self) -> &Value {
        match self {
            Self::Status(_, body) => body,
            Self::Unknown | Self::Unreachable => &Value::Null,
        }
    }
}

/// A request and its answer, as the client remembers them.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Exchange {
    /// Who asked.
    pub client: usize,
    /// When.
    pub asked_at: Timestamp,
    /// When the answer came, or the client gave up.
    pub answered_at: Timestamp,
    /// What was asked.
    pub ask: Ask,
    /// What was heard.
    pub answer: Answer,
}

pub(super) async fn read(response: axum::response::Response) -> Answer {
    let status = response.status().as_u16();
    match to_bytes(response.into_body(), ANSWER_MAX).await {
        Ok(body) => Answer::Status(status, serde_json::from_slice(&body).unwrap_or(Value::Null)),
        Err(_) => Answer::Unknown,
    }
}
