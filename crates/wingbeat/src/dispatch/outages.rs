//! Attempts while a store does not answer.

use std::time::Duration;

use wingbeat_core::{Error, RuntimeExt as _};

use super::attempt::{Attempt, Next, STORE_AWAY};
use crate::runtime::Control;

/// The pause before another attempt to store or fetch a large body. The handler may run each time.
const BODIES_AWAY: Duration = Duration::from_secs(1);

impl Attempt {
    /// Waits until the store may answer again.
    pub(super) async fn wait_for_store(&self, why: &Error) {
        self.pause_after(why, STORE_AWAY).await;
    }

    /// Waits until the store of large bodies may answer again. The failure does not count.
    pub(super) async fn wait_for_bodies(&self, why: &Error) -> Next {
        self.pause_after(why, BODIES_AWAY).await;
        if *self.control.borrow() == Control::Running {
            Next::Again
        } else {
            Next::Release
        }
    }

    /// Logs that a store does not answer, and pauses.
    async fn pause_after(&self, why: &Error, pause: Duration) {
        let runtime = &self.service.runtime;
        if let Some(suppressed) = self.stats.outages.admit(runtime.elapsed()) {
            let (queue, code) = (self.subscription.queue, why.code());
            tracing::warn!(%queue, code, suppressed, "a store does not answer, trying again: {why}");
        }
        runtime.sleep(pause + runtime.jitter(pause)).await;
    }
}
