//! The outcomes of a request without a reply.

use thiserror::Error;
use wingbeat_core::{Class, Error as WingbeatError};

/// The reason why a request has no reply.
///
/// Only [`TimedOut`](Self::TimedOut) leaves open whether the request took effect.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// No reply came before the deadline. The request may have taken effect, or may still do so
    /// within the allowance for clocks that differ.
    #[error("no reply to {request} came before its deadline")]
    TimedOut {
        /// The type of the request.
        request: &'static str,
    },
    /// The handler has rejected the request. It took no effect.
    #[error("{request} was rejected: {detail} [{code}]")]
    Rejected {
        /// The type of the request.
        request: &'static str,
        /// The code of the handler's error.
        code: String,
        /// Its text.
        detail: String,
    },
    /// The request was not sent: the store or the broker is unavailable, or the request is too
    /// large. It takes no effect.
    #[error("{request} was not sent: {why}")]
    Unavailable {
        /// The type of the request.
        request: &'static str,
        /// The reason.
        why: WingbeatError,
    },
    /// Too many requests of this process wait for their replies. The request was not sent.
    #[error("{request} was not sent: {waiting} requests of this process wait for their replies")]
    Overloaded {
        /// The type of the request.
        request: &'static str,
        /// The number of requests that wait.
        waiting: usize,
    },
    /// The service does not declare the request with [`Service::asks`](crate::Service::asks).
    #[error("the service does not declare {request}: add `.asks::<_>()`")]
    Undeclared {
        /// The type of the request.
        request: &'static str,
    },
    /// The reply cannot be decoded. The request took effect.
    #[error("the reply to {request} does not fit its type: {why}")]
    Undecodable {
        /// The type of the request.
        request: &'static str,
        /// The problem.
        why: WingbeatError,
    },
}

impl RequestError {
    /// Returns the code, which `docs/errors` explains. A rejection has the code of the handler's
    /// error.
    #[must_use]
    pub fn code(&self) -> &str {
        match self {
            Self::Rejected { code, .. } => code,
            other => other.own_code(),
        }
    }

    /// Returns the code of this outcome, whatever the handler's code.
    fn own_code(&self) -> &'static str {
        match self {
            Self::TimedOut { .. } => "reply_timeout",
            Self::Rejected { .. } => "request_rejected",
            Self::Unavailable { .. } => "request_unavailable",
            Self::Overloaded { .. } => "requests_overloaded",
            Self::Undeclared { .. } => "request_undeclared",
            Self::Undecodable { .. } => "reply_undecodable",
        }
    }

    /// Returns the name of the outcome, for metrics.
    pub(super) fn outcome(&self) -> &'static str {
        match self {
            Self::TimedOut { .. } => "timed_out",
            Self::Rejected { .. } => "rejected",
            Self::Unavailable { .. } => "unavailable",
            Self::Overloaded { .. } => "overloaded",
            Self::Undeclared { .. } | Self::Undecodable { .. } => "failed",
        }
    }

    /// Returns [`Class::Retry`] if asking again is worth it, after a timeout with care.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Unavailable { why, .. } => why.class(),
            Self::TimedOut { .. } | Self::Overloaded { .. } => Class::Retry,
            Self::Rejected { .. } | Self::Undeclared { .. } | Self::Undecodable { .. } => {
                Class::Reject
            }
        }
    }
}

impl From<RequestError> for WingbeatError {
    fn from(error: RequestError) -> Self {
        match error.class() {
            Class::Retry => Self::retry(error.own_code(), error.to_string()),
            Class::Reject => Self::reject(error.own_code(), error.to_string()),
        }
    }
}
