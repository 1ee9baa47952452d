//! What SQLite's errors mean for a batch.

use rusqlite::{ErrorCode, ffi};
use wingbeat_core::Error;

/// Why a transaction failed.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) cause: Cause,
    pub(crate) message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// One of the units is at fault; bisect.
    Poison,
    /// A row refers to one that is not there. At a COMMIT this says nothing about whose it is.
    ForeignKey,
    /// No space.
    Full,
    /// The disk failed.
    Io,
    /// The disk did not confirm what it had taken. What is durable is unknown: the process must end.
    Fsync,
    /// Another program holds the file.
    Busy,
    /// Anything else that concerns the store and not a unit.
    Other,
}

impl Fault {
    pub(crate) fn of(error: &rusqlite::Error) -> Self {
        Self {
            cause: Cause::of(error),
            message: error.to_string(),
        }
    }

    /// As the port's error: the same units may be submitted again.
    pub(crate) fn to_error(&self) -> Error {
        let code = match self.cause {
            Cause::Full => "store_full",
            Cause::Io | Cause::Fsync => "store_io",
            Cause::Busy => "store_busy",
            Cause::Poison | Cause::ForeignKey | Cause::Other => "store_failed",
        };
        Error::retry(code, self.message.clone())
    }
}

impl Cause {
    fn of(error: &rusqlite::Error) -> Self {
        let Some(failure) = error.sqlite_error() else {
            return Self::Poison;
        };
        match (failure.extended_code, failure.code) {
            (ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC, _) => Self::Fsync,
            (ffi::SQLITE_CONSTRAINT_FOREIGNKEY, _) => Self::ForeignKey,
            (_, ErrorCode::DiskFull) => Self::Full,
            (_, ErrorCode::SystemIoFailure) => Self::Io,
            (_, ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy,
            (
                _,
                ErrorCode::ConstraintViolation
                | ErrorCode::TooBig
                | ErrorCode::TypeMismatch
                | ErrorCode::ParameterOutOfRange
                | ErrorCode::AuthorizationForStatementDenied
                | ErrorCode::Unknown,
            ) => Self::Poison,
            _ => Self::Other,
        }
    }
}

/// A read or an opening that failed.
pub(crate) fn failed(error: &rusqlite::Error) -> Error {
    Fault::of(error).to_error()
}

/// The store is being dropped.
pub(crate) fn closed() -> Error {
    Error::retry("store_closed", "the store is closed")
}

/// After a failed fsync the kernel may have dropped the pages: only recovery from the log is safe.
pub(crate) fn abort_after_failed_fsync(fault: &Fault) -> ! {
    eprintln!(
        "wingbeat: the disk did not confirm a write ({}); stopping so that recovery decides what is durable",
        fault.message
    );
    std::process::abort();
}
