//! When to look at the store again.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;
use wingbeat_core::Timestamp;

/// Wakes the runner when something was written that is due sooner than it would look.
#[derive(Debug, Default)]
pub(crate) struct DueWake {
    next: Mutex<Option<Timestamp>>,
    pub(super) changed: Notify,
}

impl DueWake {
    pub(crate) fn at(&self, due: Timestamp) {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        if next.is_none_or(|earlier| due < earlier) {
            *next = Some(due);
            self.changed.notify_one();
        }
    }

    pub(super) fn take(&self) -> Option<Timestamp> {
        self.next
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}
