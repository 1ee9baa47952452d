//! Errors as `application/problem+json` (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;
use wingbeat_core::{Class, Error};

use crate::telemetry;

/// An error in the form of RFC 9457.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Problem {
    /// A URI reference for the kind of problem.
    #[serde(rename = "type")]
    pub kind: String,
    /// The name of the status.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// A description of this occurrence.
    pub detail: String,
    /// A stable, machine-readable name.
    pub code: String,
    /// The id of the request's trace; empty without one.
    pub trace_id: String,
    /// The invalid fields.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// Seconds after which to try again.
    #[serde(skip)]
    pub retry_after: Option<u64>,
    /// Methods allowed instead (405).
    #[serde(skip)]
    pub allow: Option<String>,
}

/// An invalid field.
#[derive(Clone, Debug, Serialize, JsonSchema, PartialEq, Eq)]
pub struct FieldError {
    /// A JSON pointer (RFC 6901).
    pub pointer: String,
    /// The reason why it is invalid.
    pub message: String,
}

impl Problem {
    /// Creates a problem.
    pub fn new(status: u16, code: &str, detail: impl Into<String>) -> Self {
        let title = StatusCode::from_u16(status)
            .ok()
            .and_then(|status| status.canonical_reason());
        Self {
            kind: format!("urn:wingbeat:problem:{code}"),
            title: title.unwrap_or("Error").into(),
            status,
            detail: detail.into(),
            code: code.into(),
            trace_id: String::new(),
            errors: Vec::new(),
            retry_after: matches!(status, 429 | 503).then_some(1),
            allow: None,
        }
    }

    /// Creates a problem 404: the object does not exist, or belongs to another user.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(404, "not_found", "the object does not exist")
    }

    /// Creates a problem 422 for one field.
    pub fn invalid(pointer: &str, message: impl Into<String>) -> Self {
        Self::fields(vec![FieldError {
            pointer: pointer.into(),
            message: message.into(),
        }])
    }

    /// Creates a problem 422 for several fields.
    #[must_use]
    pub fn fields(errors: Vec<FieldError>) -> Self {
        let detail = errors.first().map_or_else(String::new, |first| {
            format!("{}: {}", first.pointer, first.message)
        });
        Self {
            errors,
            ..Self::new(422, "invalid", detail)
        }
    }

    /// Asks the client to retry after this many seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let status = match error.code() {
            "unauthenticated" => 401,
            "forbidden" | "cross_site" => 403,
            "idempotency_key_missing" | "idempotency_key_malformed" | "malformed" => 400,
            "rows_unexpected" => 409,
            "idempotency_key_reused" | "invalid" => 422,
            // The caller should back off. This is no fault to log.
            "overloaded" | "contended" => return Self::new(503, error.code(), error.to_string()),
            _ if error.class() == Class::Retry => 503,
            _ => 500,
        };
        if status < 500 {
            return Self::new(status, error.code(), error.to_string());
        }
        tracing::error!(code = error.code(), "a request failed: {error}");
        if status == 503 {
            return Self::new(503, error.code(), "not available at the moment; try again");
        }
        let code = match error.code() {
            "refused" => "refused",
            _ => "internal",
        };
        Self::new(500, code, "the request failed on the server")
    }
}

impl IntoResponse for Problem {
    fn into_response(mut self) -> Response {
        if let (true, Some(context)) = (self.trace_id.is_empty(), telemetry::current()) {
            self.trace_id = format!("{:032x}", context.trace.trace_id());
        }
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).expect("strings and numbers always encode");
        let mut response = (
            status,
            [(header::CONTENT_TYPE, "application/problem+json")],
            body,
        )
            .into_response();
        if let Some(seconds) = self.retry_after {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(allow) = self
            .allow
            .as_deref()
            .and_then(|allow| HeaderValue::from_str(allow).ok())
        {
            response.headers_mut().insert(header::ALLOW, allow);
        }
        response
    }
}
