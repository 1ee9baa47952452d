//! Errors as `application/problem+json` (RFC 9457).

use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hyper::body::Body as _;
use schemars::JsonSchema;
use serde::Serialize;
use wingbeat_core::{Class, Error, LogLimits};

use crate::runtime::log_clock;
use crate::telemetry;

/// Limits the log lines about failed requests.
static LINES: Lines = Lines::new();

/// Seconds after which to ask again for a list by a column that is being filled.
const REBUILDING: u64 = 5;

/// An error in the form of RFC 9457.
///
/// A handler returns it as its error. `?` turns an [`Error`] into one: 503 if the operation can be
/// retried, 500 for most others.
///
/// ```
/// use wingbeat::http::Problem;
///
/// let taken = Problem::new(409, "room_taken", "another guest has it");
/// assert_eq!((taken.status, &*taken.title), (409, "Conflict"));
///
/// let invalid = Problem::invalid("/beds", "must be at least 1");
/// assert_eq!((invalid.status, &*invalid.detail), (422, "/beds: must be at least 1"));
/// ```
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
            if first.pointer.is_empty() {
                return first.message.clone();
            }
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
            "idempotency_key_reused" | "invalid" | "unstorable" => 422,
            // The caller should back off. This is no fault to log.
            "overloaded" | "contended" => return Self::new(503, error.code(), error.to_string()),
            // A rebuild takes a while, and is no fault either.
            "index_incomplete" => {
                return Self::new(503, error.code(), error.to_string()).retry_after(REBUILDING);
            }
            _ if error.class() == Class::Retry => 503,
            _ => 500,
        };
        if status < 500 {
            return Self::new(status, error.code(), error.to_string());
        }
        LINES.log(status, &error, log_clock());
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

/// The limits of the log lines about failed requests, by status and code: during an outage every
/// request fails.
struct Lines {
    /// Failures that a later attempt may overcome. All of one code have one cause.
    outages: LogLimits,
    /// Failures that no attempt can overcome. Their causes differ.
    faults: LogLimits,
}

impl Lines {
    const fn new() -> Self {
        Self {
            outages: LogLimits::new(1, Duration::from_secs(5)),
            faults: LogLimits::new(20, Duration::from_secs(1)),
        }
    }

    fn log(&self, status: u16, error: &Error, now: Duration) {
        let limits = if status == 503 {
            &self.outages
        } else {
            &self.faults
        };
        if let Some(suppressed) = limits.admit(error.code(), now) {
            tracing::error!(code = error.code(), suppressed, "a request failed: {error}");
        }
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

/// A middleware that turns errors in plain text, or without a body, into problems: those of axum's
/// router and of its own extractors.
pub async fn problems(request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if !is_error(&response) || !is_plain(response.headers()) {
        return completed(response);
    }
    let (parts, body) = response.into_parts();
    let text = axum::body::to_bytes(body, TEXT_MAX).await;
    let text = String::from_utf8_lossy(&text.unwrap_or_default()).into_owned();
    with_body_of(of_status(parts.status, &text), parts)
}

/// The longest text of an error that becomes the detail of a problem, in bytes.
const TEXT_MAX: usize = 1 << 10;

/// Turns an error without a body into a problem.
pub(super) fn completed(response: Response) -> Response {
    let headers = response.headers();
    let bare = !headers.contains_key(header::CONTENT_TYPE) && response.body().is_end_stream();
    if !bare || !is_error(&response) {
        return response;
    }
    let (parts, _) = response.into_parts();
    with_body_of(of_status(parts.status, ""), parts)
}

fn is_error(response: &Response) -> bool {
    let status = response.status();
    status.is_client_error() || status.is_server_error()
}

fn is_plain(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"))
}

/// Returns the problem of a status that the router or an extractor chose.
fn of_status(status: StatusCode, text: &str) -> Problem {
    let (code, usual) = match status.as_u16() {
        400 => ("malformed_request", "the request is malformed"),
        404 => ("not_found", "there is no such route"),
        405 => ("method_not_allowed", "this route has no such method"),
        413 => ("body_too_large", "the body is larger than 64 KiB"),
        415 => (
            "unsupported_media_type",
            "send `Content-Type: application/json`",
        ),
        422 => ("invalid", "the request is invalid"),
        500 => ("internal", "the request failed on the server"),
        503 => ("unavailable", "not available at the moment; try again"),
        408 => ("malformed_request", "the request did not arrive in time"),
        414 | 431 => ("head_too_large", "the request head is over 16 KiB"),
        403 => ("forbidden", "the caller may not do this"),
        _ => ("malformed_request", "the request is refused"),
    };
    // The text of a server's error may reveal its insides.
    let detail = match text.trim() {
        text if !text.is_empty() && status.is_client_error() => text,
        _ => usual,
    };
    Problem::new(status.as_u16(), code, detail)
}

/// Returns the problem with the other headers of the response that it replaces.
fn with_body_of(problem: Problem, replaced: axum::http::response::Parts) -> Response {
    let mut response = problem.into_response();
    let own = response.headers().clone();
    for (name, value) in &replaced.headers {
        if *name != header::CONTENT_LENGTH && !own.contains_key(name) {
            response.headers_mut().append(name, value.clone());
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;
    use std::sync::{Arc, Mutex};

    use tracing::field::{Field, Visit};
    use tracing::subscriber::with_default;
    use tracing_subscriber::layer::{Context, SubscriberExt as _};
    use tracing_subscriber::{Layer, registry};

    use super::*;

    /// The lines of this thread: the code, and the number of suppressed lines before it.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<(String, u64)>>>);

    #[derive(Default)]
    struct Line(String, u64);

    impl Visit for Line {
        fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}

        fn record_str(&mut self, field: &Field, value: &str) {
            if field.name() == "code" {
                value.clone_into(&mut self.0);
            }
        }

        fn record_u64(&mut self, field: &Field, value: u64) {
            if field.name() == "suppressed" {
                self.1 = value;
            }
        }
    }

    impl<S: tracing::Subscriber> Layer<S> for Log {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            let mut line = Line::default();
            event.record(&mut line);
            self.0.lock().unwrap().push((line.0, line.1));
        }
    }

    /// Returns the number of lines with a code, and the number of failures that they report.
    fn reported(log: &Log, code: &str) -> (usize, u64) {
        let lines = log.0.lock().unwrap();
        let lines = lines.iter().filter(|(of, _)| of == code);
        (lines.clone().count(), lines.map(|(_, it)| it + 1).sum())
    }

    fn logged(log: impl FnOnce()) -> Log {
        let lines = Log::default();
        with_default(registry().with(lines.clone()), log);
        lines
    }

    #[test]
    fn an_outage_logs_few_lines_that_report_every_failed_request() {
        let (store, cache) = ("store_unavailable", "cache_unavailable");
        let log = logged(|| {
            let lines = Lines::new();
            // 20 seconds with 350 requests each.
            for request in 0..7_000 {
                let now = Duration::from_secs(1) * request / 350;
                lines.log(503, &Error::retry(store, "no answer"), now);
                if request % 7 == 0 {
                    lines.log(503, &Error::retry(cache, "no answer"), now);
                }
            }
            let later = Duration::from_secs(60);
            lines.log(503, &Error::retry(store, "no answer"), later);
            lines.log(503, &Error::retry(cache, "no answer"), later);
        });
        assert_eq!(reported(&log, store), (5, 7_001));
        assert_eq!(reported(&log, cache), (5, 1_001));
        assert_eq!(log.0.lock().unwrap()[0], (store.into(), 0), "at once");
    }

    #[test]
    fn faults_with_different_causes_are_logged_until_there_are_many() {
        let log = logged(|| {
            let lines = Lines::new();
            for _ in 0..1_000 {
                lines.log(500, &Error::reject("broken", "why"), Duration::ZERO);
            }
            lines.log(500, &Error::reject("broken", "why"), Duration::from_secs(1));
        });
        assert_eq!(reported(&log, "broken"), (21, 1_001));
    }

    #[test]
    fn a_thousand_refused_requests_log_few_lines() {
        let code = "store_not_granted"; // No other test of this process logs it.
        let log = logged(|| {
            for _ in 0..1_000 {
                let problem = Problem::from(Error::retry(code, "no answer"));
                assert_eq!(problem.status, 503);
            }
        });
        let (lines, _) = reported(&log, code);
        assert!((1..50).contains(&lines), "{lines}");
    }
}
