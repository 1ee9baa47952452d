//! The reply of the server.

use std::time::Duration;

use ::http::{HeaderMap, Method, StatusCode, header};
use bytes::Bytes;
use serde::Deserialize;

use super::{Error, Fault};

/// A complete reply. Of its headers it contains those that callers act on.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The header `Retry-After`, if it is a number of seconds.
    pub retry_after: Option<Duration>,
    /// The body, usually JSON.
    pub body: Bytes,
}

impl Answer {
    pub(super) fn new(status: StatusCode, headers: &HeaderMap, body: Bytes) -> Self {
        let seconds = || {
            headers
                .get(header::RETRY_AFTER)?
                .to_str()
                .ok()?
                .parse()
                .ok()
        };
        Self {
            status,
            retry_after: seconds().map(Duration::from_secs),
            body,
        }
    }

    /// Parses the body.
    ///
    /// # Errors
    ///
    /// [`Fault::Unreadable`] with `method` and `path` if the body is not the expected JSON.
    pub fn json<'a, T: Deserialize<'a>>(&'a self, method: Method, path: &str) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|source| Error {
            method,
            path: path.to_owned(),
            fault: Fault::Unreadable {
                status: self.status.as_u16(),
                source,
            },
        })
    }
}
