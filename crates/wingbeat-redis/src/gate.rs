//! Spares callers the wait for a server that is known to be away.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// After a failure nobody asks for so long, and then one does.
const REST: Duration = Duration::from_millis(200);

/// Shut for a moment after each failure.
#[derive(Default)]
pub(crate) struct Gate {
    shut_until: Mutex<Option<Instant>>,
}

impl Gate {
    /// Whether to ask the server. Of those who come after a rest, the first tries for all.
    pub(crate) fn may_pass(&self) -> bool {
        let mut until = self
            .shut_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match *until {
            Some(at) if Instant::now() < at => false,
            Some(_) => {
                *until = Some(Instant::now() + REST);
                true
            }
            None => true,
        }
    }

    pub(crate) fn answered(&self, well: bool) {
        let mut until = self
            .shut_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *until = (!well).then(|| Instant::now() + REST);
    }
}
