//! The errors of requests.

use std::io;
use std::time::Duration;

use ::http::Method;

/// A request without a usable reply.
#[derive(Debug, thiserror::Error)]
#[error("{method} {path}: {fault}")]
pub struct Error {
    /// The method of the request.
    pub method: Method,
    /// The path of the request, without the host.
    pub path: String,
    /// The cause.
    pub fault: Fault,
}

/// The cause of a failed request.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The server cannot be reached; nothing was sent.
    #[error("cannot connect to {base}: {source}")]
    Unreachable {
        /// The base URL of the server.
        base: String,
        /// The cause.
        source: io::Error,
    },
    /// There was no complete reply in time. The server may have acted.
    #[error("no reply within {0:?}")]
    TimedOut(Duration),
    /// The connection broke before the reply was complete. The server may have acted.
    #[error("the connection broke: {0}")]
    Cut(hyper::Error),
    /// The connection closed before the request was sent. Only fresh connections report it.
    #[error("the connection closed before the request was sent")]
    Unsent,
    /// The reply is longer than the client reads.
    #[error("the reply is longer than {0} bytes")]
    TooLong(usize),
    /// The reply is not the expected JSON.
    #[error("cannot parse the reply with status {status}: {source}")]
    Unreadable {
        /// The status.
        status: u16,
        /// The cause.
        source: serde_json::Error,
    },
    /// The reply is not an event stream.
    #[error("the reply with status {0} is not an event stream")]
    NoStream(u16),
    /// The path of the request is malformed.
    #[error("the path is malformed")]
    BadPath,
}

impl Error {
    /// Returns whether it is unknown that the server acted. A retry with the same idempotency key
    /// resolves it.
    #[must_use]
    pub fn is_undecided(&self) -> bool {
        self.fault.is_undecided()
    }
}

impl Fault {
    fn is_undecided(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::TimedOut(_) | Self::Cut(_) | Self::Unsent => true,
            Self::TooLong(_) | Self::Unreadable { .. } | Self::NoStream(_) | Self::BadPath => false,
        }
    }
}
