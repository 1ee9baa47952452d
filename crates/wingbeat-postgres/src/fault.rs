//! What PostgreSQL's errors mean.

use tokio_postgres::error::SqlState;
use wingbeat_core::Error;

/// Why a call did not succeed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// A value that PostgreSQL cannot keep: one of the units is at fault.
    Poison(String),
    /// Anything that concerns the server, the connection or a race, and not a unit.
    Away(String),
}

impl Fault {
    pub(crate) fn of(error: &tokio_postgres::Error) -> Self {
        let text = told(error);
        match error.code().map(SqlState::code) {
            // Data exception, integrity constraint violation, program limit exceeded.
            Some(code) if ["22", "23", "54"].contains(&&code[..2]) => Self::Poison(text),
            _ => Self::Away(text),
        }
    }

    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Poison(text) => Error::retry("store_failed", text),
            Self::Away(text) => Error::retry("store_away", text),
        }
    }
}

/// As the port's error: try again.
pub(crate) fn away(error: &tokio_postgres::Error) -> Error {
    Fault::Away(told(error)).into_error()
}

/// What happened, without the statement and without any secret.
pub(crate) fn told(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(said) => format!("PostgreSQL says {}: {}", said.code().code(), said.message()),
        None => match std::error::Error::source(error) {
            Some(source) => format!("no answer from PostgreSQL: {source}"),
            None => format!("no answer from PostgreSQL: {error}"),
        },
    }
}

/// Whether the server will not let us in, however often we ask.
pub(crate) fn is_refusal(error: &tokio_postgres::Error) -> bool {
    // Invalid authorization, invalid catalog name.
    let code = error.code().map_or("", SqlState::code);
    code.starts_with("28") || code == "3D000"
}
