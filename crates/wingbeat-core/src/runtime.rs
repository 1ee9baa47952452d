//! The ports for time, chance and tasks. Only adapters touch the real ones.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Either, select};
use uuid::Uuid;

use crate::{Timestamp, ids};

/// Clock, randomness and tasks: real in production, virtual and seeded in the simulation.
pub trait Runtime: Send + Sync + 'static {
    /// The wall clock. May jump; never use it to measure.
    fn now(&self) -> Timestamp;
    /// Time since some fixed start; never goes back.
    fn elapsed(&self) -> Duration;
    /// Waits; in the simulation, virtual time.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
    /// Starts a task that nobody waits for. Tasks end with the process (or its simulated crash).
    fn spawn(&self, task: BoxFuture<'static, ()>);
    /// Runs `work`, which may block or compute for long, away from the tasks.
    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>);
    /// 64 random bits; not for secrets.
    fn random(&self) -> u64;
    /// Fills `bytes` from the source for secrets (tokens, salts).
    fn fill_secret(&self, bytes: &mut [u8]);
}

/// What every runtime can do, built on the port.
pub trait RuntimeExt: Runtime {
    /// A new version-7 id.
    fn id(&self) -> Uuid {
        ids::uuid_v7(self.now(), self.random())
    }

    /// `future`, or `None` once `limit` has passed.
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

    /// A random duration in `0..=most`.
    fn jitter(&self, most: Duration) -> Duration {
        let micros = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.random() % micros.saturating_add(1).max(1))
    }

    /// Runs blocking work and waits for what it returns; `None` if it panicked.
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

/// A runtime shared by everything in a process.
pub type SharedRuntime = Arc<dyn Runtime>;
