//! Classifies SQLite's errors by what a batch must do about them.

use std::io::Write as _;

use rusqlite::{ErrorCode, ffi};
use wingbeat_core::Error;

/// An error of SQLite and its class.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) cause: Cause,
    pub(crate) message: String,
}

/// The class of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// One of the units cannot be stored: commit them separately.
    Poison,
    /// A row refers to a missing row. An error at COMMIT does not say which unit is at fault.
    ForeignKey,
    /// The disk is full.
    Full,
    /// The disk failed.
    Io,
    /// An fsync failed. Which writes are durable is unknown, so the process must end.
    Fsync,
    /// Another program has locked the file.
    Busy,
    /// The file is damaged. No attempt can succeed, and further writes could destroy more.
    Corrupt,
    /// Any other failure of the store.
    Other,
}

impl Fault {
    /// Classifies an error.
    pub(crate) fn of(error: &rusqlite::Error) -> Self {
        Self {
            cause: Cause::of(error),
            message: error.to_string(),
        }
    }

    /// Returns the error that the port reports: the caller may submit the same units again.
    pub(crate) fn to_error(&self) -> Error {
        let code = match self.cause {
            Cause::Full => "store_full",
            Cause::Io | Cause::Fsync => "store_io",
            Cause::Busy => "store_busy",
            Cause::Corrupt => return Error::reject("store_corrupt", self.message.clone()),
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
            (_, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Corrupt,
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

/// Converts an error while the store is being prepared.
pub(crate) fn failed(error: &rusqlite::Error) -> Error {
    Fault::of(error).to_error()
}

/// Converts an error while the store is in use. Ends the process if the file is damaged.
pub(crate) fn failed_in_use(error: &rusqlite::Error) -> Error {
    let fault = Fault::of(error);
    exit_if_corrupt(&fault);
    fault.to_error()
}

/// Ends the process with exit code 2 if the file is damaged: whatever is read or written from now
/// on could be wrong, and no restart heals it.
pub(crate) fn exit_if_corrupt(fault: &Fault) {
    if fault.cause == Cause::Corrupt {
        eprintln!(
            "wingbeat: a file of the data directory is damaged ({}): stop using it and restore a \
             backup [store_corrupt: docs/errors/store_corrupt.md]",
            fault.message
        );
        std::process::exit(2);
    }
}

/// Returns the error of a call to a store that is being dropped.
pub(crate) fn closed() -> Error {
    Error::retry("store_closed", "the store is closed")
}

/// Aborts the process. After a failed fsync the kernel may have dropped the dirty pages, so only
/// recovery from the log shows which writes are durable.
pub(crate) fn abort_after_failed_fsync(fault: &Fault) -> ! {
    // `eprintln!` would panic instead of aborting if stderr is closed or full.
    let _ = writeln!(
        std::io::stderr(),
        "wingbeat: fsync failed ({}); aborting, restart to recover the data from the log",
        fault.message
    );
    std::process::abort();
}
