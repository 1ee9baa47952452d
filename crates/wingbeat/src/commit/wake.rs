//! Wakes the runner of due records.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;
use wingbeat_core::Timestamp;

/// The earliest due time that was committed since the runner last looked at the store.
#[derive(Debug, Default)]
pub(crate) struct DueWake {
    next: Mutex<Option<Timestamp>>,
    pub(crate) changed: Notify,
}

impl DueWake {
    pub(crate) fn at(&self, due: Timestamp) {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        if next.is_none_or(|earlier| due < earlier) {
            *next = Some(due);
            self.changed.notify_one();
        }
    }

    pub(crate) fn take(&self) -> Option<Timestamp> {
        self.next
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}
