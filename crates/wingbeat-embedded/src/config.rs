//! Settings of a data directory.

use std::borrow::Cow;
use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use wingbeat_core::{Error, Result};

use crate::private::{private_directory, private_file};

/// The name of the store in its directory.
pub(crate) const FILE: &str = "wingbeat.db";
/// Locked by the process that has the directory open.
const LOCK: &str = "lock";
/// Maximum wait for the lock. The kernel releases the lock of a killed process only after it
/// has freed that process's memory, and a supervisor may start the next process before that.
const LOCK_WAIT_MAX: Duration = Duration::from_secs(1);

/// Settings of a data directory: its path, and how much memory and time the store may use.
///
/// ```
/// use wingbeat_embedded::Config;
///
/// let mut config = Config::new("data");
/// config.tables = "CREATE TABLE IF NOT EXISTS stock(sku TEXT PRIMARY KEY, free INTEGER)".into();
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The directory; created if absent. Only one process may have it open.
    pub path: PathBuf,
    /// Maximum number of messages a queue keeps in memory; it reads the rest from disk in pages.
    pub window: usize,
    /// Maximum size in bytes of the messages that all queues together keep in memory. Each queue
    /// may exceed it by a few messages.
    pub window_bytes: usize,
    /// Maximum number of units in one transaction. 512 was fastest when measured: larger
    /// transactions only add latency.
    pub batch_max: usize,
    /// Number of threads that read; each has its own connection.
    pub readers: usize,
    /// Maximum size in bytes of the cache of recently written records.
    pub recent_bytes: usize,
    /// Size in bytes of the writer's SQLite page cache.
    pub page_cache_bytes: usize,
    /// Free disk space in bytes below which [`Embedded::writable`](crate::Embedded::writable)
    /// returns `false`.
    pub min_free_bytes: u64,
    /// SQL that creates your own tables in the same file, for `Scope::sql`. The store runs it in
    /// one transaction whenever it opens the data, so write `CREATE TABLE IF NOT EXISTS …`. It
    /// cannot access the framework's tables or use names that begin with `wb_`.
    pub tables: Cow<'static, str>,
    /// Timeout of one `Scope::sql` statement. Nothing else is written while it runs.
    pub statement_timeout: Duration,
}

impl Config {
    /// Creates the default settings for the data in `path`.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            window: 4096,
            window_bytes: 16 << 20,
            batch_max: 512,
            readers: 2,
            recent_bytes: 16 << 20,
            page_cache_bytes: 16 << 20,
            min_free_bytes: 256 << 20,
            tables: Cow::Borrowed(""),
            statement_timeout: Duration::from_secs(2),
        }
    }

    /// Returns the path of the file that contains everything except the cache. To read your own
    /// tables, open this file with a read-only connection.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.path.join(FILE)
    }

    /// Creates the directory and locks it until the returned files are dropped: the lock file and
    /// the directory itself, since the lock file can be deleted.
    pub(crate) fn lock(&self) -> Result<Vec<File>> {
        let path = self.path.display();
        let unusable = |error: std::io::Error| {
            let message = format!("cannot use the data directory {path}: {error}");
            Error::reject("data_unreadable", message)
        };
        private_directory(&self.path).map_err(unusable)?;
        let lock = self.path.join(LOCK);
        private_file(&lock).map_err(unusable)?;
        let lock = File::create(lock).map_err(unusable)?;
        self.lock_file(&lock).map_err(unusable)??;
        let mut files = vec![lock];
        #[cfg(unix)]
        {
            let directory = File::open(&self.path).map_err(unusable)?;
            // Some network file systems lock no directories.
            if let Ok(locked) = self.lock_file(&directory) {
                locked?;
                files.push(directory);
            }
        }
        Ok(files)
    }

    /// Locks a file, or the error `data_in_use`.
    fn lock_file(&self, lock: &File) -> std::io::Result<Result<()>> {
        let start = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(Ok(())),
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) if start.elapsed() < LOCK_WAIT_MAX => {
                    std::thread::sleep(LOCK_WAIT_MAX / 50);
                }
                Err(TryLockError::WouldBlock) => {
                    let message = format!(
                        "the data directory {} is in use by another process: \
                         stop that process or choose another directory",
                        self.path.display()
                    );
                    return Ok(Err(Error::reject("data_in_use", message)));
                }
            }
        }
    }
}
