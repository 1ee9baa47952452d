//! Why there is no answer.

use std::io;
use std::time::Duration;

use ::http::Method;

/// A request without a usable answer: which one, and why.
#[derive(Debug, thiserror::Error)]
#[error("{method} {path}: {fault}")]
pub struct Error {
    /// Of the request.
    pub method: Method,
    /// Of the request; without host.
    pub path: String,
    /// What went wrong.
    pub fault: Fault,
}

/// What went wrong with a request.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Nobody listens there; nothing was sent.
    #[error("{base} cannot be reached: {source}")]
    Unreachable {
        /// Where.
        base: String,
        /// Why.
        source: io::Error,
    },
    /// No whole answer came in time. It may have been done.
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    /// The connection ended before the whole answer came. It may have been done.
    #[error("the connection was cut: {0}")]
    Cut(hyper::Error),
    /// The connection had ended before the request was sent; only seen on fresh connections.
    #[error("the connection was closed before the request was sent")]
    Unsent,
    /// The answer is longer than this client reads.
    #[error("the answer is over {0} bytes")]
    TooLong(usize),
    /// The answer is not what was expected.
    #[error("the answer {status} cannot be read: {source}")]
    Unreadable {
        /// Its status.
        status: u16,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// An event stream was promised, and something else came.
    #[error("the answer {0} is no event stream")]
    NoStream(u16),
    /// The path of the request is none.
    #[error("the path is malformed")]
    BadPath,
}

impl Error {
    /// Whether the request may or may not have been done: asking again, with the same key, is the way
    /// to find out.
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
