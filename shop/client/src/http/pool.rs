//! The connections that are kept.

use std::sync::{Mutex, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::lane::Lane;

/// Idle lanes, the last used on top, so that as few as needed stay warm.
pub(super) struct Pool {
    turns: Semaphore,
    idle: Mutex<Vec<Lane>>,
}

impl Pool {
    /// At most `lanes_max` lanes at a time.
    pub(super) fn new(lanes_max: usize) -> Self {
        Self {
            turns: Semaphore::new(lanes_max),
            idle: Mutex::default(),
        }
    }

    /// The right to use one lane; first come, first served.
    pub(super) async fn turn(&self) -> SemaphorePermit<'_> {
        let turn = self.turns.acquire().await;
        turn.expect("the semaphore is never closed")
    }

    /// A lane that nobody uses. Needs a turn.
    pub(super) fn take(&self) -> Option<Lane> {
        self.lanes().pop()
    }

    /// Back for the next request, unless it has ended.
    pub(super) fn put(&self, lane: Lane) {
        if lane.is_open() {
            self.lanes().push(lane);
        }
    }

    fn lanes(&self) -> std::sync::MutexGuard<'_, Vec<Lane>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
