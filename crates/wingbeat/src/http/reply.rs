//! Answers as data, so that they can be stored under an idempotency key.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::problem::Problem;
use crate::encode;

/// An answer of a command.
///
/// ```
/// use wingbeat::http::{created, no_content};
///
/// let reply = created(&"room 7").location("/rooms/7");
/// assert_eq!((reply.status, &*reply.body), (201, "\"room 7\""));
/// assert_eq!(no_content().status, 204);
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// Header names and values.
    pub headers: Vec<(String, String)>,
    /// The body: JSON, or empty.
    pub body: String,
}

/// The result of a command: an answer or a problem.
pub type ReplyBody = Result<Reply, Problem>;

fn reply<T: Serialize>(status: u16, body: &T) -> Reply {
    let body = String::from_utf8(encode(body).to_vec()).expect("JSON is UTF-8");
    Reply {
        status,
        headers: vec![("content-type".into(), "application/json".into())],
        body,
    }
}

/// Creates an answer 200 with a body.
pub fn ok<T: Serialize>(body: &T) -> Reply {
    reply(200, body)
}

/// Creates an answer 201 with a body.
pub fn created<T: Serialize>(body: &T) -> Reply {
    reply(201, body)
}

/// Creates an answer 202 with a body: the request is durable and will be carried out.
pub fn accepted<T: Serialize>(body: &T) -> Reply {
    reply(202, body)
}

/// Creates an answer 204.
#[must_use]
pub fn no_content() -> Reply {
    Reply {
        status: 204,
        headers: Vec::new(),
        body: String::new(),
    }
}

impl Reply {
    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.into()));
        self
    }

    /// Adds the header `Location`.
    #[must_use]
    pub fn location(self, to: impl Into<String>) -> Self {
        self.header("location", to)
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Bytes::from(self.body)).into_response();
        response.headers_mut().remove(header::CONTENT_TYPE);
        for (name, value) in self.headers {
            if let (Ok(name), Ok(value)) =
                (name.parse::<HeaderName>(), HeaderValue::from_str(&value))
            {
                response.headers_mut().append(name, value);
            }
        }
        response
    }
}

/// The result of a command's handler.
#[diagnostic::on_unimplemented(
    message = "a command cannot answer `{Self}`",
    note = "return a `Result<Reply, _>` with an error that becomes a `Problem`"
)]
pub trait IntoReply: Send {
    /// Converts the result.
    ///
    /// # Errors
    ///
    /// The problem that the command answers with.
    fn into_reply(self) -> ReplyBody;
}

impl<E: Into<Problem> + Send> IntoReply for Result<Reply, E> {
    fn into_reply(self) -> ReplyBody {
        self.map_err(Into::into)
    }
}
