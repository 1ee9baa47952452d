//! What can be chosen about a data directory.

use std::borrow::Cow;
use std::fs::{File, TryLockError};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use wingbeat_core::{Error, Result};

const FILE: &str = "wingbeat.db";
/// Held by the process that has the directory open.
const LOCK: &str = "lock";
/// A process that was killed holds the lock until its memory is given back; who is started meanwhile waits so long.
const LAST_BREATH: Duration = Duration::from_secs(1);

/// Where the data lies and how much memory it may take.
#[derive(Clone, Debug)]
pub struct Config {
    /// The directory; made if absent. Exactly one process may have it open.
    pub path: PathBuf,
    /// Most messages a queue keeps in memory; the rest is paged from disk.
    pub window: usize,
    /// Most bytes of messages all queues together keep in memory, beyond a few for each.
    pub window_bytes: usize,
    /// Most units in one transaction. 512 measured best: larger ones only wait longer.
    pub batch_max: usize,
    /// Threads (and connections) that read.
    pub readers: usize,
    /// Most bytes of lately written records kept in memory.
    pub recent_bytes: usize,
    /// SQLite's page cache for the writer, in bytes.
    pub page_cache_bytes: usize,
    /// Below this much free disk space intake stops.
    pub min_free_bytes: u64,
    /// Your own tables in the same file, for `Scope::sql`: SQL that runs whenever the data is opened, such as
    /// `CREATE TABLE IF NOT EXISTS …`. All of it takes effect, or nothing. The framework's tables, and names that
    /// begin with `wb_`, are out of its reach.
    pub tables: Cow<'static, str>,
    /// Longest time for one statement of `Scope::sql`: nothing else is written meanwhile.
    pub statement_timeout: Duration,
}

impl Config {
    /// The defaults, for the data in `path`.
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

    /// The file that holds everything but the cache. To read tables of your own, open it with a connection of your
    /// own that only reads.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.path.join(FILE)
    }

    /// Makes the directory and takes its lock.
    #[allow(
        clippy::disallowed_methods,
        reason = "the lock is another process's, which lives by the real clock"
    )]
    pub(crate) fn hold(&self) -> Result<File> {
        let unusable = |error: std::io::Error| {
            let path = self.path.display();
            Error::reject("data_unreadable", format!("cannot use {path}: {error}"))
        };
        std::fs::create_dir_all(&self.path).map_err(unusable)?;
        let lock = File::create(self.path.join(LOCK)).map_err(unusable)?;
        let start = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(lock),
                Err(TryLockError::Error(error)) => return Err(unusable(error)),
                Err(TryLockError::WouldBlock) if start.elapsed() < LAST_BREATH => {
                    std::thread::sleep(LAST_BREATH / 50);
                }
                Err(TryLockError::WouldBlock) => {
                    let path = self.path.display();
                    let message = format!("{path} is in use by another process");
                    return Err(Error::reject("data_in_use", message));
                }
            }
        }
    }
}
