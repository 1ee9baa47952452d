//! Limits how often something starts, over all replicas of a service, and how much happens at the
//! same time in one process.
//!
//! The replicas count starts in the cache. Each counts alone while the cache is unavailable, so
//! messages go on; then the limit holds for each replica.

mod flow;
mod places;
mod seat;
mod tenants;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{Cache, LogLimit};

pub(crate) use flow::Flow;
pub(crate) use places::{Place, Places};
pub(crate) use seat::{RunPlace, Seat};
pub(crate) use tenants::{Share, Tenants};

use crate::policy::Rate;

/// The number of windows into which the duration of a rate is divided, so that starts are spread
/// over it.
const WINDOWS: u32 = 10;
/// A replica that waits for a window of another one looks again after this part of a window.
const LOOKS: u32 = 8;
/// The shortest pause between two looks.
const LOOK_MIN: Duration = Duration::from_millis(2);
/// The longest pause between two looks, so that a window that the cache has lost is found.
const LOOK_MAX: Duration = Duration::from_secs(10);

/// A rate that all replicas share.
pub(crate) struct Limiter {
    cache: Arc<dyn Cache>,
    runtime: SharedRuntime,
    /// The key of the counter.
    key: String,
    /// The starts in one window.
    starts: u64,
    window: Duration,
    own: Mutex<Own>,
    /// Held by the one task of this process that asks the cache; the others wait in order.
    asking: tokio::sync::Mutex<()>,
    outages: LogLimit,
}

/// The window as this replica knows it.
#[derive(Default)]
struct Own {
    /// The end of the window that this replica has opened.
    until: Option<Duration>,
    /// The starts in the current window: those of all replicas, or, while the cache is unavailable,
    /// those of this one.
    starts: u64,
}

impl Limiter {
    /// `name` tells limits apart; all replicas use the same one.
    pub(crate) fn new(
        name: &str,
        rate: Rate,
        cache: Arc<dyn Cache>,
        runtime: SharedRuntime,
    ) -> Self {
        let starts = (rate.starts / WINDOWS).max(1);
        Self {
            cache,
            runtime,
            key: format!("wb:rate:{name}"),
            starts: starts.into(),
            window: rate.per.saturating_mul(starts) / rate.starts.max(1),
            own: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
            outages: LogLimit::new(1, Duration::from_secs(60)),
        }
    }

    /// Waits until the next start is allowed. A future that is dropped may have used up a start.
    pub(crate) async fn turn(&self) {
        let _asking = self.asking.lock().await;
        while let Err(pause) = self.try_turn().await {
            self.runtime.sleep(pause).await;
        }
    }

    /// Takes the next start, or returns the pause before another attempt if the window has no start
    /// left.
    async fn try_turn(&self) -> Result<(), Duration> {
        if let Some(pause) = self.is_used_up() {
            return Err(pause);
        }
        match self.cache.hit(&self.key, self.window).await {
            Ok(count) => self.counted(count),
            Err(why) => {
                let now = self.runtime.elapsed();
                if let Some(suppressed) = self.outages.admit(now) {
                    let (key, code) = (&self.key, why.code());
                    tracing::warn!(
                        key,
                        code,
                        suppressed,
                        "cannot count in the cache, the rate holds for each replica: {why}"
                    );
                }
                self.count_alone(now)
            }
        }
    }

    /// Returns the rest of a window without starts, if this replica has opened it and so knows its
    /// end.
    fn is_used_up(&self) -> Option<Duration> {
        let own = self.own();
        let rest = own.until?.saturating_sub(self.runtime.elapsed());
        (own.starts >= self.starts && !rest.is_zero()).then_some(rest)
    }

    fn counted(&self, count: u64) -> Result<(), Duration> {
        let now = self.runtime.elapsed();
        let mut own = self.own();
        if count == 1 {
            own.until = Some(now + self.window);
        }
        own.starts = count;
        if count <= self.starts {
            return Ok(());
        }
        let rest = own.until.map(|it| it.saturating_sub(now));
        let look = (self.window / LOOKS).clamp(LOOK_MIN, LOOK_MAX);
        Err(rest.filter(|it| !it.is_zero()).unwrap_or(look))
    }

    fn count_alone(&self, now: Duration) -> Result<(), Duration> {
        let mut own = self.own();
        if own.until.is_none_or(|until| until <= now) {
            *own = Own {
                until: Some(now + self.window),
                starts: 0,
            };
        }
        own.starts += 1;
        if own.starts <= self.starts {
            return Ok(());
        }
        Err(own.until.map_or(self.window, |until| until - now))
    }

    fn own(&self) -> std::sync::MutexGuard<'_, Own> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to start the next run.
pub(crate) struct Turn {
    limiter: Option<Arc<Limiter>>,
    has: bool,
    waiting: Option<BoxFuture<'static, ()>>,
}

impl Turn {
    /// Creates the right to start runs at any time, or at the rate of a limiter.
    pub(crate) fn new(limiter: Option<Arc<Limiter>>) -> Self {
        Self {
            limiter,
            has: false,
            waiting: None,
        }
    }

    /// Takes the right to start one run. If there is none, [`wait`](Self::wait) gets the next one.
    pub(crate) fn take(&mut self) -> bool {
        let Some(limiter) = &self.limiter else {
            return true;
        };
        let taken = std::mem::take(&mut self.has);
        if !taken && self.waiting.is_none() {
            let limiter = Arc::clone(limiter);
            self.waiting = Some(Box::pin(async move { limiter.turn().await }));
        }
        taken
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Waits for the right that [`take`](Self::take) did not get. Dropping the future loses
    /// nothing.
    pub(crate) async fn wait(&mut self) {
        match &mut self.waiting {
            Some(waiting) => waiting.await,
            None => std::future::pending().await,
        }
        self.waiting = None;
        self.has = true;
    }
}
