//! The real clock, for tests of adapters to real servers.
#![allow(
    clippy::disallowed_methods,
    reason = "this is an adapter behind the runtime's port"
)]

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::future::BoxFuture;

use crate::Timestamp;
use crate::runtime::{Runtime, SharedRuntime};

/// A [`Runtime`] with the real clock, for tests on tokio.
///
/// Its random numbers are not fit for secrets. Services use the runtime of `wingbeat` instead.
///
/// ```
/// use wingbeat_core::conformance::RealTime;
///
/// let runtime = RealTime::shared();
/// assert!(runtime.now() > wingbeat_core::Timestamp::from_millis(0));
/// ```
pub struct RealTime {
    started: Instant,
}

impl RealTime {
    /// Creates a runtime. Its timers and tasks need a tokio runtime around them.
    #[must_use]
    pub fn shared() -> SharedRuntime {
        let started = Instant::now();
        Arc::new(Self { started })
    }
}

impl Runtime for RealTime {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        drop(tokio::spawn(task));
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        drop(tokio::task::spawn_blocking(work));
    }

    fn random(&self) -> u64 {
        // Each `RandomState` has other keys, so its hash of nothing is a random number.
        RandomState::new().build_hasher().finish()
    }

    fn fill_secret(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.random().to_le_bytes()[..chunk.len()]);
        }
    }
}
