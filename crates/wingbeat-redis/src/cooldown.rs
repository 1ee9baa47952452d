//! A cooldown after each failure, which spares callers the wait for an unavailable server.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The time after a failure during which requests fail at once.
const LENGTH: Duration = Duration::from_millis(200);

/// The cooldown of one server.
#[derive(Default)]
pub(crate) struct Cooldown {
    until: Mutex<Option<Instant>>,
}

impl Cooldown {
    /// Returns whether a request may be sent. After a cooldown, only the first caller may; its
    /// result decides for all others.
    pub(crate) fn admits(&self) -> bool {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        match *until {
            Some(at) if Instant::now() < at => false,
            Some(_) => {
                *until = Some(Instant::now() + LENGTH);
                true
            }
            None => true,
        }
    }

    /// Ends the cooldown after a success, and starts one after a failure.
    pub(crate) fn record(&self, success: bool) {
        let mut until = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        *until = (!success).then(|| Instant::now() + LENGTH);
    }
}
