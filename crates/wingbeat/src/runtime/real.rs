//! The machine's clock, randomness and tasks. No other module touches them.
#![allow(
    clippy::disallowed_methods,
    reason = "this is the adapter behind the runtime's port"
)]

#[cfg(feature = "http")]
use std::sync::LazyLock;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::future::BoxFuture;
use tokio::task::JoinSet;
use wingbeat_core::{Runtime, Timestamp};

/// The moment from which [`log_clock`] counts.
#[cfg(feature = "http")]
static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Returns the time since a fixed moment, for limits of log lines in code that has no runtime.
/// Nothing else may depend on it: a simulation does not control it.
#[cfg(feature = "http")]
pub(crate) fn log_clock() -> Duration {
    STARTED.elapsed()
}

/// The runtime's port on tokio and the machine's clock and randomness.
pub struct TokioRuntime {
    started: Instant,
}

impl TokioRuntime {
    /// Creates the runtime. It must be used within a tokio runtime.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            started: Instant::now(),
        })
    }
}

impl Runtime for TokioRuntime {
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
        fastrand::u64(..)
    }

    fn fill_secret(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system has randomness");
    }
}

/// A runtime whose tasks can be killed together, so that one service of a process can restart.
pub struct TaskGroup {
    runtime: Arc<TokioRuntime>,
    tasks: Mutex<JoinSet<()>>,
}

impl TaskGroup {
    /// Creates a group without tasks.
    #[must_use]
    pub fn new(runtime: Arc<TokioRuntime>) -> Arc<Self> {
        let tasks = Mutex::default();
        Arc::new(Self { runtime, tasks })
    }

    /// Drops all tasks at their current await, and waits until the last one has ended.
    pub async fn kill(&self) {
        let mut tasks = std::mem::take(&mut *self.lock());
        tasks.shutdown().await;
    }

    fn lock(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Runtime for TaskGroup {
    fn now(&self) -> Timestamp {
        self.runtime.now()
    }

    fn elapsed(&self) -> Duration {
        self.runtime.elapsed()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        self.runtime.sleep(duration)
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        let mut tasks = self.lock();
        while tasks.try_join_next().is_some() {} // Drop finished tasks.
        tasks.spawn(task);
    }

    fn spawn_blocking(&self, work: Box<dyn FnOnce() + Send>) {
        self.runtime.spawn_blocking(work);
    }

    fn random(&self) -> u64 {
        self.runtime.random()
    }

    fn fill_secret(&self, bytes: &mut [u8]) {
        self.runtime.fill_secret(bytes);
    }
}
