//! Decides whether the store accepts new work, by free disk space and by the result of writes.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Validity of a measurement of free space, and pause between two probes of a failed disk.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// Closes intake below a minimum of free space, and after a failed write until a write succeeds.
/// Intake closes before commits fail, so that running work can still finish.
#[derive(Debug)]
pub(crate) struct Intake {
    path: PathBuf,
    min_free_bytes: u64,
    failing: AtomicBool,
    /// The last measurement: when it was taken, and whether there was enough space.
    measured: Mutex<Option<(Instant, bool)>>,
}

/// The state of intake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    Closed,
    /// Closed after a failed write; the caller should now try another write.
    Probe,
}

impl Intake {
    pub(crate) fn new(path: PathBuf, min_free_bytes: u64) -> Self {
        Self {
            path,
            min_free_bytes,
            failing: AtomicBool::new(false),
            measured: Mutex::new(None),
        }
    }

    /// Notes the result of a write.
    pub(crate) fn wrote(&self, successfully: bool) {
        if self.failing.load(Ordering::Relaxed) == successfully {
            self.failing.store(!successfully, Ordering::Relaxed);
        }
    }

    /// Returns the state; measures free space at most once per [`CHECK_INTERVAL`].
    pub(crate) fn check(&self) -> State {
        let failing = self.failing.load(Ordering::Relaxed);
        let mut measured = self.measured.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = measured.filter(|(at, _)| at.elapsed() < CHECK_INTERVAL);
        let has_space = fresh.map_or_else(|| self.has_space(), |(_, has_space)| has_space);
        if fresh.is_none() {
            *measured = Some((Instant::now(), has_space));
        }
        if has_space && !failing {
            State::Open
        } else if failing && fresh.is_none() {
            State::Probe
        } else {
            State::Closed
        }
    }

    /// Returns `true` if the free space cannot be measured: if the disk is full, writes will fail.
    #[allow(clippy::unnecessary_cast, reason = "narrower on other systems")]
    fn has_space(&self) -> bool {
        nix::sys::statvfs::statvfs(&self.path).map_or(true, |disk| {
            let blocks = disk.blocks_available() as u64;
            blocks.saturating_mul(disk.fragment_size() as u64) >= self.min_free_bytes
        })
    }
}
