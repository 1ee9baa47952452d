//! The port for clocks, timers, tasks and random numbers.
//!
//! Code that runs in the simulation reaches all four through this port, so that one seed determines
//! a whole run. Adapters to real servers may use the real clock.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Either, select};
use uuid::Uuid;

use crate::{Timestamp, ids};

/// Clocks, timers, tasks and random numbers: real in production, virtual and seeded in the
/// simulation.
pub trait Runtime: Send + Sync + 'static {
    /// Returns the wall-clock time. It may jump in either direction and differ between processes;
    /// use [`elapsed`](Self::elapsed) to measure durations.
    fn now(&self) -> Timestamp;
    /// Returns the time since a fixed point in the life of this process. It never decreases.
    fn elapsed(&self) -> Duration;
    /// Completes after `duration`. Dropping the future cancels the timer.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
    /// Starts a detached task. It ends with the process, or with a simulated crash of the process.
    fn spawn(&self, task: BoxFuture<'static, ()>);
    /// Runs work that blocks or computes for long on a thread where it delays no task.
    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>);
    /// Returns 64 random bits that an attacker may guess. For secrets, use
    /// [`fill_secret`](Self::fill_secret).
    fn random(&self) -> u64;
    /// Fills `bytes` with random bits for secrets such as tokens and salts.
    fn fill_secret(&self, bytes: &mut [u8]);
}

/// Extension methods of every [`Runtime`].
///
/// ```
/// use std::time::Duration;
///
/// use wingbeat_core::runtime::SharedRuntime;
/// use wingbeat_core::{Error, Result, RuntimeExt};
///
/// async fn within_a_second<T: Send>(
///     runtime: &SharedRuntime,
///     request: impl Future<Output = Result<T>> + Send,
/// ) -> Result<T> {
///     match runtime.timeout(Duration::from_secs(1), request).await {
///         Some(response) => response,
///         None => Err(Error::retry("cache_unavailable", "the cache did not reply within 1 s")),
///     }
/// }
/// ```
pub trait RuntimeExt: Runtime {
    /// Creates a version-7 UUID from the current time and random bits.
    fn id(&self) -> Uuid {
        ids::uuid_v7(self.now(), self.random())
    }

    /// Returns the output of `future`, or `None` if it takes longer than `limit`. Then `future` is
    /// dropped. If both complete together, the output wins.
    fn timeout<F: Future + Send>(
        &self,
        limit: Duration,
        future: F,
    ) -> impl Future<Output = Option<F::Output>> + Send {
        let sleep = self.sleep(limit);
        async move {
            let future = std::pin::pin!(future);
            match select(future, sleep).await {
                Either::Left((output, _)) => Some(output),
                Either::Right(((), _)) => None,
            }
        }
    }

    /// Returns a random duration from zero to `most`, both included.
    fn jitter(&self, most: Duration) -> Duration {
        let micros = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.random() % micros.saturating_add(1).max(1))
    }

    /// Runs `work` with [`spawn_blocking`](Runtime::spawn_blocking) and returns its result; `None`
    /// if it panicked. Dropping the future does not stop the work.
    fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = Option<T>> + Send {
        let (send, receive) = tokio::sync::oneshot::channel();
        self.spawn_blocking(Box::new(move || {
            let _ = send.send(work());
        }));
        receive.map(Result::ok)
    }
}

impl<R: Runtime + ?Sized> RuntimeExt for R {}

/// The runtime that all parts of a process share.
pub type SharedRuntime = Arc<dyn Runtime>;
