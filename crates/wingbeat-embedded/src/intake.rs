//! Whether the disk still takes what comes in.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long an answer about free space, or a failed write, stands before it is looked at again.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Intake stops before commits do: below a watermark of free space, and from a failed write until one
/// succeeds again.
#[derive(Debug)]
pub(crate) struct Intake {
    path: PathBuf,
    min_free_bytes: u64,
    failing: AtomicBool,
    looked: Mutex<Option<(Instant, bool)>>,
}

/// What the caller should tell clients, and do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Open,
    Shut,
    /// Shut, and long enough that a write should be tried.
    Probe,
}

impl Intake {
    pub(crate) fn new(path: PathBuf, min_free_bytes: u64) -> Self {
        Self {
            path,
            min_free_bytes,
            failing: AtomicBool::new(false),
            looked: Mutex::new(None),
        }
    }

    /// A write failed or succeeded.
    pub(crate) fn wrote(&self, successfully: bool) {
        if self.failing.load(Ordering::Relaxed) == successfully {
            self.failing.store(!successfully, Ordering::Relaxed);
        }
    }

    pub(crate) fn look(&self) -> Answer {
        let failing = self.failing.load(Ordering::Relaxed);
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = looked.filter(|(at, _)| at.elapsed() < LOOK_EVERY);
        let roomy = fresh.map_or_else(|| self.roomy(), |(_, roomy)| roomy);
        if fresh.is_none() {
            *looked = Some((Instant::now(), roomy));
        }
        match (roomy && !failing, failing && fresh.is_none()) {
            (true, _) => Answer::Open,
            (false, true) => Answer::Probe,
            (false, false) => Answer::Shut,
        }
    }

    /// A disk that cannot be asked counts as roomy: the writes themselves will tell.
    fn roomy(&self) -> bool {
        rustix::fs::statvfs(&self.path).map_or(true, |disk| {
            disk.f_bavail.saturating_mul(disk.f_frsize) >= self.min_free_bytes
        })
    }
}
