//! Classifies PostgreSQL's errors by what a batch must do about them.

use std::time::Duration;

use tokio_postgres::error::{DbError, Severity, SqlState};
use wingbeat_core::statement::Unmet;
use wingbeat_core::store::unstorable;
use wingbeat_core::{Error, LogLimit};

use crate::clock::log_clock;

/// Limits the log lines about statements that met locks.
static BUSY: LogLimit = LogLimit::new(20, Duration::from_secs(1));

/// Read-only SQL transaction.
const READ_ONLY: &str = "25006";
/// Insufficient privilege.
const DENIED: &str = "42501";
/// Undefined object, such as a role.
const UNDEFINED_OBJECT: &str = "42704";

/// Why a call or a statement failed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// PostgreSQL cannot store a value, or cannot run a statement: one of the units is at fault.
    Poison(String),
    /// A statement of a service missed its expectation.
    Unmet(Unmet),
    /// A statement of a service waited too long for a lock, or conflicted with another transaction.
    Busy(String),
    /// The call itself waited too long for a lock, or conflicted with another transaction.
    Conflict(String),
    /// The statements of a transaction took too long together. None of them takes effect.
    TimedOut,
    /// No response in time: whether the call took effect is unknown.
    Unanswered,
    /// The server or the connection failed.
    Unavailable(String),
    /// The server accepts no writes: it was demoted, or a standby. The connection must be closed.
    ReadOnly(String),
    /// The role lacks a privilege.
    Denied(String),
}

impl Fault {
    /// Classifies an error of one of the store's own calls.
    pub(crate) fn of(error: &tokio_postgres::Error) -> Self {
        let text = describe(error);
        match error.code().map(SqlState::code) {
            // Data exception, integrity constraint violation, program limit exceeded.
            Some(code) if ["22", "23", "54"].contains(&&code[..2]) => Self::Poison(text),
            // Serialization failure, deadlock, lock not available.
            Some("40001" | "40P01" | "55P03") => Self::Conflict(text),
            Some(READ_ONLY) => Self::ReadOnly(text),
            Some(DENIED) => Self::Denied(text),
            _ => Self::Unavailable(text),
        }
    }

    /// Classifies an error of a service's statement, or of the COMMIT after it.
    pub(crate) fn of_statement(error: &tokio_postgres::Error) -> Self {
        let text = describe(error);
        match error.code().map_or("", SqlState::code) {
            // Serialization failure, deadlock, lock not available, statement timeout.
            "40001" | "40P01" | "55P03" | "57014" => Self::Busy(text),
            READ_ONLY => Self::ReadOnly(text),
            // No response, connection exception, insufficient resources, operator intervention,
            // system and internal errors. They are not the statement's fault, unless the connection
            // survives them.
            code if ["", "08", "53", "57", "58", "F0", "XX"]
                .contains(&code.get(..2).unwrap_or_default()) =>
            {
                if leaves_connection_usable(error) {
                    Self::Busy(text)
                } else {
                    Self::Unavailable(text)
                }
            }
            _ => Self::Poison(text),
        }
    }

    /// Converts the fault for a unit in a handler's transaction. The transaction has ended, and the
    /// handler runs again.
    pub(crate) fn in_open_transaction(self) -> Self {
        match self {
            Self::Conflict(text) => Self::Busy(text),
            other => other,
        }
    }

    /// Converts the fault of a statement that ran before any COMMIT was sent.
    pub(crate) fn before_commit(self) -> Self {
        match self {
            Self::Unanswered => Self::TimedOut,
            other => other,
        }
    }

    /// Converts the fault of the `number`th statement of a unit.
    pub(crate) fn in_statement(self, number: usize) -> Self {
        match self {
            Self::Busy(text) => {
                if let Some(suppressed) = BUSY.admit(log_clock()) {
                    tracing::warn!(statement = number, suppressed, "a statement failed: {text}");
                }
                Self::Unmet(Unmet::Busy { statement: number })
            }
            Self::Poison(text) => Self::Poison(format!("statement {number} failed: {text}")),
            other => other,
        }
    }

    /// Returns the error that a commit reports: the caller may submit the same units again.
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Poison(text) => Error::retry("store_failed", text),
            Self::Unmet(unmet) => unmet.into(),
            Self::Busy(text)
            | Self::Conflict(text)
            | Self::Unavailable(text)
            | Self::ReadOnly(text) => Error::retry("store_unavailable", text),
            Self::Denied(text) => Error::retry("store_refused", text),
            Self::TimedOut | Self::Unanswered => {
                Error::retry("store_unavailable", "PostgreSQL did not respond in time")
            }
        }
    }

    /// Returns the error that a handler gets from its own transaction.
    pub(crate) fn in_transaction(self) -> Error {
        match self {
            Self::Poison(text) => Error::reject("statement_refused", text),
            Self::Busy(text) => Error::retry("statement_busy", text),
            other => other.into_error(),
        }
    }
}

/// Returns the error that a read reports. A value that PostgreSQL cannot compare with is the fault
/// of the caller, and no outage.
pub(crate) fn unavailable(error: &tokio_postgres::Error) -> Error {
    let code = error.code().map_or("", SqlState::code);
    // Data exception, program limit exceeded.
    if code.starts_with("22") || code.starts_with("54") {
        return unstorable(describe(error));
    }
    if code == DENIED {
        return Fault::Denied(describe(error)).into_error();
    }
    Fault::Unavailable(describe(error)).into_error()
}

/// Returns whether the role may not do it, or a role that a statement names does not exist.
pub(crate) fn is_denied(error: &tokio_postgres::Error) -> bool {
    let code = error.code().map_or("", SqlState::code);
    [DENIED, UNDEFINED_OBJECT].contains(&code)
}

/// Returns whether the server accepts no writes.
pub(crate) fn is_read_only(error: &tokio_postgres::Error) -> bool {
    error.code().map(SqlState::code) == Some(READ_ONLY)
}

/// Returns whether TLS failed: the server does not offer it, or one side refused a certificate.
pub(crate) fn is_tls_failure(error: &tokio_postgres::Error) -> bool {
    let source = std::error::Error::source(error);
    let io = source.and_then(|source| source.downcast_ref::<std::io::Error>());
    // The error of the client has no other sign.
    error
        .to_string()
        .starts_with("error performing TLS handshake")
        || io.is_some_and(wingbeat_connect::is_tls_error)
}

/// Describes an error in one line, without the statement and without secrets.
pub(crate) fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("PostgreSQL error {}: {}", db.code().code(), db.message()),
        None => match std::error::Error::source(error) {
            Some(source) if is_tls_failure(error) => format!("TLS fails: {source}"),
            Some(source) => format!("no response from PostgreSQL: {source}"),
            None => format!("no response from PostgreSQL: {error}"),
        },
    }
}

fn leaves_connection_usable(error: &tokio_postgres::Error) -> bool {
    let severity = error.as_db_error().and_then(DbError::parsed_severity);
    severity == Some(Severity::Error)
}

/// Returns whether a prepared statement no longer fits the tables, or no longer exists. It may
/// succeed once it is prepared again.
pub(crate) fn is_outdated(error: &tokio_postgres::Error) -> bool {
    let Some(db) = error.as_db_error() else {
        return false;
    };
    match db.code().code() {
        // Invalid statement name.
        "26000" => true,
        // "Feature not supported" covers many errors. This routine reports changed result columns.
        "0A000" => db.routine() == Some("RevalidateCachedQuery"),
        _ => false,
    }
}

/// Returns whether the server refuses the login, so that another attempt cannot succeed.
pub(crate) fn is_refusal(error: &tokio_postgres::Error) -> bool {
    // Invalid authorization, invalid catalog name.
    let code = error.code().map_or("", SqlState::code);
    code.starts_with("28") || code == "3D000"
}
