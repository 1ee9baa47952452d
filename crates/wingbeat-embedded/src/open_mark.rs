//! Notices that SQLite's write-ahead log was lost.
//!
//! The log contains commits that are not yet in the database file. If it is missing, SQLite opens
//! the file as if they had never happened. A log is missing rightly only after the store was
//! closed. So a file, the mark, exists while the store is open: a mark without a log means that the
//! log was lost after a crash, or that the files were copied without it.
//!
//! A log that is replaced by an older or an empty one is not noticed: an empty log is usual after a
//! checkpoint.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use wingbeat_core::{Error, Result};

use crate::private::private_file;

const MARK: &str = "wingbeat.open";

/// The mark of an open store. Dropping it removes the file.
pub(crate) struct OpenMark(Option<PathBuf>);

impl OpenMark {
    /// Checks, before the store is opened, that it has its log if it was not closed.
    pub(crate) fn check(directory: &Path, store: &str) -> Result<()> {
        let log = directory.join(format!("{store}-wal"));
        if !directory.join(MARK).exists() || log.exists() {
            return Ok(());
        }
        let message = format!(
            "{} is missing, although the store was not closed: its last commits are lost. Restore \
             the whole directory from a backup; remove {MARK} to start without these commits",
            log.display()
        );
        Err(Error::reject("data_lost", message))
    }

    /// Sets the mark, once the store is open and so has a log.
    pub(crate) fn set(directory: &Path) -> Self {
        let mark = directory.join(MARK);
        // The log must be on disk before the mark is.
        let set = sync(directory)
            .and_then(|()| private_file(&mark))
            .and_then(|()| sync(directory));
        if let Err(error) = set {
            // The disk may be full. The store works, and only a loss of its log goes unnoticed.
            tracing::warn!(%error, "cannot write {}", mark.display());
            return Self(None);
        }
        Self(Some(mark))
    }
}

impl Drop for OpenMark {
    fn drop(&mut self) {
        if let Some(mark) = &self.0
            && let Err(error) = fs::remove_file(mark)
        {
            tracing::warn!(%error, "cannot remove {}", mark.display());
        }
    }
}

/// Makes the names of a directory durable.
fn sync(directory: &Path) -> std::io::Result<()> {
    if cfg!(unix) {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}
