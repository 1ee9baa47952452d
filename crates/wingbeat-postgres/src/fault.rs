//! What PostgreSQL's errors mean.

use tokio_postgres::error::{DbError, Severity, SqlState};
use wingbeat_core::Error;
use wingbeat_core::statement::Unmet;

/// Why a call did not succeed.
#[derive(Debug)]
pub(crate) enum Fault {
    /// A value that PostgreSQL cannot keep: one of the units is at fault.
    Poison(String),
    /// A statement of a service's own did not do what was expected of it.
    Unmet(Unmet),
    /// Others hold what a statement needs, or it took too long.
    Busy(String),
    /// The call itself waited too long for a lock, or lost a race.
    Race(String),
    /// Statements took longer together than one may. Nothing of their transaction takes effect.
    Late,
    /// No answer in time: whether it took effect is unknown.
    Silent,
    /// Anything that concerns the server, the connection or a race, and not a unit.
    Away(String),
}

impl Fault {
    pub(crate) fn of(error: &tokio_postgres::Error) -> Self {
        let text = told(error);
        match error.code().map(SqlState::code) {
            // Data exception, integrity constraint violation, program limit exceeded.
            Some(code) if ["22", "23", "54"].contains(&&code[..2]) => Self::Poison(text),
            // Serialization failure, deadlock, lock not available.
            Some("40001" | "40P01" | "55P03") => Self::Race(text),
            _ => Self::Away(text),
        }
    }

    /// What an error means that came of a statement of a service's own, or of the COMMIT after it.
    pub(crate) fn of_statement(error: &tokio_postgres::Error) -> Self {
        let text = told(error);
        match error.code().map_or("", SqlState::code) {
            // Serialization failure, deadlock, lock not available, statement timeout.
            "40001" | "40P01" | "55P03" | "57014" => Self::Busy(text),
            // A server that only reads is about to be replaced.
            "25006" => Self::Away(text),
            // No answer, connection exception, insufficient resources, operator intervention, system and internal
            // errors: the statement is not at fault, unless it is the only one that has them.
            code if ["", "08", "53", "57", "58", "F0", "XX"]
                .contains(&code.get(..2).unwrap_or_default()) =>
            {
                match is_survived(error) {
                    true => Self::Busy(text),
                    false => Self::Away(text),
                }
            }
            _ => Self::Poison(text),
        }
    }

    /// What it means for a transaction of a handler's: it is gone, and its handler runs again.
    pub(crate) fn in_companion(self) -> Self {
        match self {
            Self::Race(text) => Self::Busy(text),
            other => other,
        }
    }

    /// The same, of statements whose transaction was not about to be committed.
    pub(crate) fn before_commit(self) -> Self {
        match self {
            Self::Silent => Self::Late,
            other => other,
        }
    }

    /// The same, of the `number`th statement of a unit.
    pub(crate) fn in_statement(self, number: usize) -> Self {
        match self {
            Self::Busy(text) => {
                tracing::warn!(statement = number, "{text}");
                Self::Unmet(Unmet::Busy { statement: number })
            }
            Self::Poison(text) => Self::Poison(format!("statement {number}: {text}")),
            other => other,
        }
    }

    /// As a commit's error: the same units may be submitted again.
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::Poison(text) => Error::retry("store_failed", text),
            Self::Unmet(unmet) => unmet.into(),
            Self::Busy(text) | Self::Race(text) | Self::Away(text) => {
                Error::retry("store_away", text)
            }
            Self::Late | Self::Silent => Error::retry("store_away", "PostgreSQL does not answer"),
        }
    }

    /// As a handler's error, who has the transaction open.
    pub(crate) fn in_transaction(self) -> Error {
        match self {
            Self::Poison(text) => Error::reject("statement_refused", text),
            Self::Busy(text) => Error::retry("statement_busy", text),
            other => other.into_error(),
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

/// Whether the server has answered, and the connection goes on.
fn is_survived(error: &tokio_postgres::Error) -> bool {
    let severity = error.as_db_error().and_then(DbError::parsed_severity);
    severity == Some(Severity::Error)
}

/// Whether a statement that was prepared does not suit the tables any more, or is gone: prepared anew, it may run.
pub(crate) fn is_outdated(error: &tokio_postgres::Error) -> bool {
    let Some(said) = error.as_db_error() else {
        return false;
    };
    match said.code().code() {
        // Invalid statement name.
        "26000" => true,
        // Feature not supported: so many things, of which one is that the result has other columns now.
        "0A000" => said.routine() == Some("RevalidateCachedQuery"),
        _ => false,
    }
}

/// Whether the server will not let us in, however often we ask.
pub(crate) fn is_refusal(error: &tokio_postgres::Error) -> bool {
    // Invalid authorization, invalid catalog name.
    let code = error.code().map_or("", SqlState::code);
    code.starts_with("28") || code == "3D000"
}
