//! Limits and timings of handlers and of outside systems.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use wingbeat_core::Envelope;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Retry;

pub use crate::retry::RetryRule;

/// The way in which a subscription handles its messages.
///
/// Most handlers keep the default. The methods of [`Handler`](crate::Handler) change single fields.
///
/// ```
/// use wingbeat::{Handler, Result, Service};
/// # use serde::{Deserialize, Serialize};
/// # use wingbeat::{Event, JsonSchema};
/// # #[derive(Event, Serialize, Deserialize, JsonSchema)]
/// # #[event(name = "orders.order_placed", version = 1, key = order)]
/// # struct OrderPlaced { order: u32 }
///
/// async fn index(_: OrderPlaced) -> Result<()> {
///     Ok(())
/// }
///
/// let index = index.ordered().concurrency(4).named("search_index");
/// let policy = index.policy();
/// assert_eq!((policy.ordered, policy.concurrency), (true, 4));
/// let service = Service::new("search").on(index);
/// # drop(service);
/// ```
#[derive(Clone, Debug)]
pub struct Policy {
    /// The largest number of handlers that run at the same time. Messages with the same key are
    /// always handled one at a time.
    pub concurrency: usize,
    /// The largest number of unacknowledged deliveries. The default fills one batch of the store.
    pub prefetch: usize,
    /// The rate at which all replicas together start runs; `None` if there is no limit. See
    /// [`Handler::at_most`](crate::Handler::at_most).
    pub rate: Option<Rate>,
    /// The limit of each tenant; see
    /// [`Handler::concurrency_per`](crate::Handler::concurrency_per).
    pub per_tenant: Option<PerTenant>,
    /// Which run comes first where several wait; see
    /// [`Handler::priority`](crate::Handler::priority).
    pub priority: Priority,
    /// The largest number of messages in a batch; see [`Handler::up_to`](crate::Handler::up_to).
    pub up_to: usize,
    /// The time that a message waits for others to form a batch; see
    /// [`Handler::within`](crate::Handler::within).
    pub within: Duration,
    /// The attempts after a failure.
    pub retry: Retry,
    /// Keeps the order of messages with the same key across failures, restarts and replicas; see
    /// [`Handler::ordered`](crate::Handler::ordered).
    pub ordered: bool,
    /// The number of partitions, over which the replicas share the messages and keep the order of
    /// each key; `None` for a subscription without partitions. See
    /// [`Handler::partitioned`](crate::Handler::partitioned).
    pub partitions: Option<u32>,
    /// Delivers the events first that were published before the subscription existed; see
    /// [`Handler::from_beginning`](crate::Handler::from_beginning).
    pub from_beginning: bool,
    /// Pauses the subscription after too many failures; see
    /// [`Handler::kill_switch`](crate::Handler::kill_switch).
    pub kill_switch: Option<KillSwitch>,
    /// The name of the subscription within its service; `None` for the name of its message.
    pub name: Option<&'static str>,
    /// Encrypts failed deliveries; see [`Handler::personal`](crate::Handler::personal).
    #[cfg(feature = "personal")]
    pub personal: bool,
}

impl Policy {
    /// The largest [`up_to`](Self::up_to).
    pub const UP_TO_MAX: usize = 1_000;
    /// The largest [`within`](Self::within).
    pub const WITHIN_MAX: Duration = Duration::from_secs(60);
    /// The largest number of [`partitions`](Self::partitions).
    pub const PARTITIONS_MAX: u32 = 64;
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            concurrency: 64,
            prefetch: 512,
            rate: None,
            per_tenant: None,
            priority: Priority::Normal,
            up_to: 100,
            within: Duration::from_millis(100),
            retry: Retry::default(),
            ordered: false,
            partitions: None,
            from_beginning: false,
            kill_switch: None,
            name: None,
            #[cfg(feature = "personal")]
            personal: false,
        }
    }
}

/// The limit of each tenant of a subscription; see
/// [`Handler::concurrency_per`](crate::Handler::concurrency_per).
#[derive(Clone)]
pub struct PerTenant {
    /// The largest number of runs for one tenant at the same time in a process.
    pub concurrency: usize,
    of: Arc<TenantOf>,
}

/// Returns the tenant of a message.
type TenantOf = dyn Fn(&Envelope) -> Option<Arc<str>> + Send + Sync;

impl PerTenant {
    pub(crate) fn new(
        concurrency: usize,
        of: impl Fn(&Envelope) -> Option<Arc<str>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            concurrency: concurrency.max(1),
            of: Arc::new(of),
        }
    }

    /// Returns the tenant of a message; `None` if its body is not that of its type.
    pub(crate) fn tenant(&self, message: &Envelope) -> Option<Arc<str>> {
        (self.of)(message)
    }
}

impl fmt::Debug for PerTenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("PerTenant");
        shown.field("concurrency", &self.concurrency);
        shown.finish_non_exhaustive()
    }
}

/// Which of those runs first that wait for a place; see
/// [`Handler::priority`](crate::Handler::priority).
///
/// ```
/// use wingbeat::policy::Priority;
///
/// assert_eq!("high".parse(), Ok(Priority::High));
/// assert_eq!(Priority::default(), Priority::Normal);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Before all others.
    High,
    /// The default.
    #[default]
    Normal,
    /// After all others.
    Low,
}

impl Priority {
    /// Returns its name: `high`, `normal` or `low`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }

    /// Returns its place in the order; the first runs first.
    pub(crate) const fn rank(self) -> u8 {
        match self {
            Self::High => 0,
            Self::Normal => 1,
            Self::Low => 2,
        }
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Priority {
    type Err = UnknownPriority;

    fn from_str(text: &str) -> Result<Self, UnknownPriority> {
        let all = [Self::High, Self::Normal, Self::Low];
        let found = all.into_iter().find(|it| it.as_str() == text);
        found.ok_or_else(|| UnknownPriority(text.to_owned()))
    }
}

/// A text that names no [`Priority`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownPriority(String);

impl fmt::Display for UnknownPriority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no priority: write high, normal or low", self.0)
    }
}

impl std::error::Error for UnknownPriority {}

/// The failures after which a subscription pauses itself in all processes.
///
/// Each process counts the deliveries that it has handled, parked or dead-lettered. Attempts that
/// are repeated in place do not count. After the pause, one process handles one delivery: if that
/// succeeds, the subscription is resumed, otherwise the next probe follows after twice the time, up
/// to 16 times [`probe_after`](Self::probe_after).
///
/// ```
/// use std::time::Duration;
///
/// use wingbeat::policy::KillSwitch;
///
/// let switch = KillSwitch { probe_after: Duration::from_secs(10), ..KillSwitch::default() };
/// assert_eq!((switch.failures, switch.percent), (20, 50));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KillSwitch {
    /// The failed deliveries in the window below which nothing happens.
    pub failures: u32,
    /// The share of failed deliveries, in percent, below which nothing happens.
    pub percent: u32,
    /// The length of the window.
    pub within: Duration,
    /// The pause before the first probe.
    pub probe_after: Duration,
}

impl Default for KillSwitch {
    fn default() -> Self {
        Self {
            failures: 20,
            percent: 50,
            within: Duration::from_secs(60),
            probe_after: Duration::from_secs(30),
        }
    }
}

/// A rate, which all replicas of a service share.
///
/// ```
/// use std::time::Duration;
///
/// use wingbeat::Rate;
///
/// let rate = Rate { starts: 300, per: Duration::from_secs(60) };
/// assert_eq!(Rate::per_minute(300), rate);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The number of starts; 0 counts as 1.
    pub starts: u32,
    /// The duration for which the number holds. It is divided into up to ten windows of equal
    /// length, so that the starts are spread over it.
    pub per: Duration,
}

impl Rate {
    /// Creates a rate of starts a second.
    #[must_use]
    pub const fn per_second(starts: u32) -> Self {
        let per = Duration::from_secs(1);
        Self { starts, per }
    }

    /// Creates a rate of starts a minute.
    #[must_use]
    pub const fn per_minute(starts: u32) -> Self {
        let per = Duration::from_secs(60);
        Self { starts, per }
    }

    /// Returns the number of starts within a duration.
    pub(crate) fn within(self, duration: Duration) -> u128 {
        let starts = u128::from(self.starts.max(1));
        starts * duration.as_nanos() / self.per.as_nanos().max(1)
    }
}

/// The time for which a subscription with a rate may hold deliveries, if no other replica takes
/// part.
const RATED: Duration = Duration::from_secs(60);

impl Rate {
    /// Returns whether a delivery could wait longer for its turn than the broker allows.
    pub(crate) fn is_too_low(self) -> bool {
        self.within(RATED) == 0
    }
}

/// The limits of a subscription or an outside system that can change while it runs; see
/// [`Running::limit`](crate::Running::limit).
///
/// ```
/// use wingbeat::policy::Limits;
/// use wingbeat::{Handler as _, Rate, Result};
/// # use serde::{Deserialize, Serialize};
/// # use wingbeat::{Event, JsonSchema};
/// # #[derive(Event, Serialize, Deserialize, JsonSchema)]
/// # #[event(name = "orders.order_placed", version = 1, key = order)]
/// # struct OrderPlaced { order: u32 }
///
/// async fn index(_: OrderPlaced) -> Result<()> {
///     Ok(())
/// }
///
/// let policy = index.concurrency(4).at_most(Rate::per_second(50)).policy();
/// let limits = Limits::of(&policy);
/// assert_eq!((limits.concurrency, limits.rate), (4, Some(Rate::per_second(50))));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The largest number of handlers that a process runs at the same time, or of attempts at calls
    /// to the outside system.
    pub concurrency: usize,
    /// The rate at which all replicas together start them; `None` if there is no limit.
    pub rate: Option<Rate>,
    /// The largest number of handlers that a process runs for one tenant at the same time; `None`
    /// where the code does not say what a tenant is. See
    /// [`Handler::concurrency_per`](crate::Handler::concurrency_per).
    pub per_tenant: Option<usize>,
    /// The priority of a subscription's runs; that of calls belongs to their executors. See
    /// [`Handler::priority`](crate::Handler::priority).
    pub priority: Priority,
}

impl Limits {
    /// The largest concurrency that can be set while a program runs.
    pub const CONCURRENCY_MAX: usize = 10_000;

    /// Returns the limits that a policy sets.
    #[must_use]
    pub fn of(policy: &Policy) -> Self {
        Self {
            concurrency: policy.concurrency,
            rate: policy.rate,
            per_tenant: policy.per_tenant.as_ref().map(|it| it.concurrency),
            priority: policy.priority,
        }
    }

    /// Returns the limits that the policy of an outside system sets.
    #[must_use]
    pub fn of_target(policy: &TargetPolicy) -> Self {
        Self {
            concurrency: policy.concurrency,
            rate: policy.rate,
            per_tenant: None,
            priority: Priority::Normal,
        }
    }
}

/// A change of limits while a program runs; see [`Running::limit`](crate::Running::limit).
///
/// A field that is `None` stands for the limit of the code, so the default ends all changes.
///
/// ```
/// use wingbeat::policy::NewLimits;
/// use wingbeat::{Rate, Running};
///
/// async fn slow_down(running: &Running) -> wingbeat::Result<()> {
///     let limits = NewLimits {
///         rate: Some(Rate::per_second(50)),
///         ..NewLimits::default()
///     };
///     running.limit("mails", "order_placed", limits).await?;
///     Ok(())
/// }
/// # drop(slow_down);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NewLimits {
    /// The new [`Limits::concurrency`].
    pub concurrency: Option<usize>,
    /// The new [`Limits::rate`].
    pub rate: Option<Rate>,
    /// The new [`Limits::per_tenant`].
    pub per_tenant: Option<usize>,
    /// The new [`Limits::priority`].
    pub priority: Option<Priority>,
}

impl Policy {
    /// Returns whether messages with the same key are handled strictly in order.
    pub(crate) fn keeps_order(&self) -> bool {
        self.ordered || self.partitions.is_some()
    }

    /// Returns the prefetch of one queue at a rate. It is lower than without one: the broker limits
    /// the time for which a delivery is not acknowledged. Partitions share the rate.
    pub(crate) fn prefetch(&self, rate: Option<Rate>) -> usize {
        let queues = u128::from(self.partitions.unwrap_or(1).max(1));
        let rated = rate.map_or(u128::MAX, |rate| rate.within(RATED) / queues);
        let rated = usize::try_from(rated).unwrap_or(usize::MAX);
        self.prefetch.min(rated).max(1)
    }
}

/// The way in which a saga handles its inputs; see
/// [`Service::saga_with`](crate::Service::saga_with).
///
/// Inputs of one instance are always handled one at a time. The queue has the name of the saga, and
/// a saga cannot be [`ordered`](Policy::ordered): an input that it defers waits for a later one.
///
/// ```
/// use wingbeat::policy::SagaPolicy;
///
/// let policy = SagaPolicy { concurrency: 8, ..SagaPolicy::default() };
/// assert_eq!(policy.retry.parked.len(), 6); // 1 s, 5 s, 30 s, 2 min, 10 min, 1 h
/// ```
#[derive(Clone, Debug)]
pub struct SagaPolicy {
    /// The largest number of instances that a process handles at the same time.
    pub concurrency: usize,
    /// The largest number of unacknowledged deliveries.
    pub prefetch: usize,
    /// Which run comes first where several wait; see
    /// [`Handler::priority`](crate::Handler::priority).
    pub priority: Priority,
    /// The attempts after a failure, and after [`SagaEffects::defer`](crate::SagaEffects::defer).
    /// The default outlasts an hour in which another service is unavailable.
    pub retry: Retry,
}

impl Default for SagaPolicy {
    fn default() -> Self {
        let Policy {
            concurrency,
            prefetch,
            ..
        } = Policy::default();
        Self {
            concurrency,
            prefetch,
            priority: Priority::Normal,
            retry: Retry::patient(),
        }
    }
}

impl From<SagaPolicy> for Policy {
    fn from(saga: SagaPolicy) -> Self {
        let SagaPolicy {
            concurrency,
            prefetch,
            priority,
            retry,
        } = saga;
        Self {
            concurrency,
            prefetch,
            priority,
            retry,
            ..Self::default()
        }
    }
}

/// Limits and timings of all calls to one outside system.
///
/// ```
/// use std::time::Duration;
///
/// use wingbeat::{Service, TargetPolicy};
///
/// let policy = TargetPolicy {
///     timeout: Duration::from_secs(2),
///     concurrency: 16,
///     ..TargetPolicy::default()
/// };
/// let service = Service::new("payments").target("provider", policy);
/// # drop(service);
/// ```
#[derive(Clone, Debug)]
pub struct TargetPolicy {
    /// The time limit of one attempt. After it, the outcome of the attempt is unknown.
    pub timeout: Duration,
    /// The largest number of attempts at the same time (the bulkhead).
    pub concurrency: usize,
    /// The rate of attempts by all replicas together, as the terms of an API demand it; `None` if
    /// there is no limit. Calls beyond it wait in the store.
    pub rate: Option<Rate>,
    /// The pause after the first failed attempt. It doubles after each further one, up to
    /// `backoff_max`.
    pub backoff: Duration,
    /// The longest pause between attempts.
    pub backoff_max: Duration,
    /// The longest pause that the target can ask for with `Retry-After`. A shorter one is obeyed,
    /// also by the circuit breaker.
    pub retry_after_max: Duration,
    /// The age at which a failing call is given up; see [`GaveUp`](crate::GaveUp).
    pub give_up_after: Duration,
    /// The number of consecutive failures of different operations that opens the circuit breaker.
    pub breaker_failures: u32,
    /// The window in which the share of failed or slow calls opens the circuit breaker, also if
    /// other calls succeed between them.
    pub breaker_window: BreakerWindow,
    /// The time that an open breaker waits before it lets one call through as a probe.
    pub breaker_open: Duration,
}

impl Default for TargetPolicy {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            concurrency: 256,
            rate: None,
            backoff: Duration::from_millis(100),
            backoff_max: Duration::from_secs(10),
            retry_after_max: Duration::from_secs(600),
            give_up_after: Duration::from_secs(24 * 3600),
            breaker_failures: 5,
            breaker_window: BreakerWindow::default(),
            breaker_open: Duration::from_secs(2),
        }
    }
}

/// The window in which a circuit breaker measures the share of failed and of slow calls.
///
/// It contains the last [`calls`](Self::calls) calls, as far as they were attempted
/// [`within`](Self::within) this time. A call counts once, whatever number of attempts it had, with
/// the result of the last one: a call that failed and was completed by a later attempt does not
/// count as failed.
///
/// The default opens the breaker if 80 % of at least 50 calls have failed in 30 seconds and were
/// not completed since. It finds a target that refuses most calls because of overload. A target
/// that is down altogether is found earlier, by [`TargetPolicy::breaker_failures`], whatever the
/// window contains. A target of which one of two replicas is down stays in use: later attempts
/// complete the calls, and a lower share would only slow them down.
///
/// Slow calls do not count by default. Calls wait in the store, so nobody waits for a slow target,
/// and an open breaker sends it one call at a time. Set [`slow_after`](Self::slow_after) for a
/// target that recovers only if it gets fewer calls. Attempts that end with
/// [`TargetPolicy::timeout`] always count as failed.
///
/// ```
/// use std::time::Duration;
///
/// use wingbeat::policy::BreakerWindow;
/// use wingbeat::{Service, TargetPolicy};
///
/// let policy = TargetPolicy {
///     breaker_window: BreakerWindow {
///         slow_after: Some(Duration::from_secs(2)),
///         slow_percent: 60,
///         ..BreakerWindow::default()
///     },
///     ..TargetPolicy::default()
/// };
/// let service = Service::new("payments").target("provider", policy);
/// # drop(service);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakerWindow {
    /// The largest number of calls in the window, from 1 to [`CALLS_MAX`](Self::CALLS_MAX).
    pub calls: u32,
    /// The age at which an attempt leaves the window.
    pub within: Duration,
    /// The number of calls below which no share opens the breaker.
    pub minimum: u32,
    /// The share of failed calls, in percent, that opens the breaker.
    pub failed_percent: u32,
    /// The duration from which an answer counts as slow; `None` if no answer does. A slow probe
    /// does not close the breaker.
    pub slow_after: Option<Duration>,
    /// The share of slow calls, in percent, that opens the breaker.
    pub slow_percent: u32,
}

impl BreakerWindow {
    /// The largest number of calls that a breaker remembers. A larger number in
    /// [`calls`](Self::calls) counts as this one.
    pub const CALLS_MAX: usize = 1_000;

    pub(crate) fn capacity(&self) -> usize {
        (self.calls as usize).clamp(1, Self::CALLS_MAX)
    }
}

impl Default for BreakerWindow {
    fn default() -> Self {
        Self {
            calls: 100,
            within: Duration::from_secs(30),
            minimum: 50,
            failed_percent: 80,
            slow_after: None,
            slow_percent: 80,
        }
    }
}
