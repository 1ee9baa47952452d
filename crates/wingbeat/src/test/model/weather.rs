//! What goes wrong, how often it did, and when.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{Error, Result, RuntimeExt as _, Timestamp};

use super::lock;

/// The longest pause of a slow consumer between deliveries.
const SLOW: Duration = Duration::from_secs(2);

/// What goes wrong, as shares of 1,000. All zero by default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A commit happens, or only its first units do, and its answer is lost.
    pub commit_unknown: u64,
    /// The store does not answer.
    pub store_away: u64,
    /// A published message is not confirmed, whether it was taken or not.
    pub confirm_lost: u64,
    /// A delivery comes two to five times.
    pub duplicate: u64,
    /// A consumer takes its time before it takes more.
    pub slow_consumer: u64,
    /// A call to the outside is refused, and does nothing.
    pub outside_fails: u64,
    /// A call to the outside is never answered, whether it acted or not.
    pub outside_hangs: u64,
    /// A call to the outside acts, and its answer is lost.
    pub outside_reply_lost: u64,
    /// A client's request is handled, and the answer is lost.
    pub answer_lost: u64,
    /// The longest delay of an operation.
    pub delay: Duration,
}

/// What is away altogether. Nothing by default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outages {
    /// The store answers nothing.
    pub store: bool,
    /// The broker takes nothing, and its consumers are lost.
    pub broker: bool,
    /// The broker delivers, and lets publishers wait.
    pub broker_blocked: bool,
    /// The cache answers nothing.
    pub cache: bool,
}

/// Used by a system with a cache.
pub(crate) const CACHE: &str = "cache";
/// Used by a system that clients send requests to.
pub(crate) const CLIENT: &str = "client";
/// Used by a system that calls outside systems.
pub(crate) const OUTSIDE: &str = "outside";

/// How often each fault fired.
pub type Fired = BTreeMap<&'static str, u64>;

#[derive(Default)]
struct Sky {
    faults: Faults,
    outages: Outages,
    fired: Fired,
    used: BTreeSet<&'static str>,
    /// What happened at once and to everybody, for the story of a failure.
    told: Vec<(Timestamp, String)>,
}

/// Chance and faults, shared by the parts of a model.
#[derive(Clone)]
pub(crate) struct Weather {
    runtime: SharedRuntime,
    sky: Arc<Mutex<Sky>>,
}

impl Weather {
    pub(crate) fn new(runtime: SharedRuntime) -> Self {
        Self {
            runtime,
            sky: Arc::default(),
        }
    }

    fn sky(&self) -> MutexGuard<'_, Sky> {
        lock(&self.sky)
    }

    pub(crate) fn set_faults(&self, faults: Faults) {
        self.sky().faults = faults;
    }

    pub(crate) fn set_outages(&self, outages: Outages) {
        self.sky().outages = outages;
    }

    pub(crate) fn outages(&self) -> Outages {
        self.sky().outages
    }

    pub(crate) fn fired(&self) -> Fired {
        self.sky().fired.clone()
    }

    pub(crate) fn told(&self) -> Vec<(Timestamp, String)> {
        self.sky().told.clone()
    }

    /// Counts a fault that took effect.
    pub(crate) fn count(&self, fault: &'static str) {
        *self.sky().fired.entry(fault).or_default() += 1;
    }

    /// Notes that the system uses a part that only some systems have.
    pub(crate) fn uses(&self, part: &'static str) {
        self.sky().used.insert(part);
    }

    /// Returns the used parts that only some systems have.
    pub(crate) fn used(&self) -> BTreeSet<&'static str> {
        self.sky().used.clone()
    }

    /// Notes what happened at once.
    pub(crate) fn tell(&self, what: String) {
        let now = self.runtime.now();
        self.sky().told.push((now, what));
    }

    /// Whether a fault takes effect now.
    pub(crate) fn strikes(&self, name: &'static str, share: impl Fn(&Faults) -> u64) -> bool {
        let share = share(&self.sky().faults);
        let strikes = share > 0 && self.runtime.random() % 1_000 < share;
        if strikes {
            self.count(name);
        }
        strikes
    }

    pub(crate) async fn delay(&self) {
        let most = self.sky().faults.delay;
        if most > Duration::ZERO {
            self.count("delay");
        }
        self.runtime.sleep(self.runtime.jitter(most)).await;
    }

    /// How long a slow consumer waits, if it is one now.
    pub(crate) fn slowness(&self) -> Option<Duration> {
        let slow = self.strikes("slow_consumer", |faults| faults.slow_consumer);
        slow.then(|| self.runtime.jitter(SLOW))
    }

    pub(crate) async fn reach_store(&self) -> Result<()> {
        self.delay().await;
        let away = self.outages().store;
        if away {
            self.count("store_outage");
        }
        if away || self.strikes("store_away", |faults| faults.store_away) {
            return Err(Error::retry("store_away", "the store does not answer"));
        }
        Ok(())
    }

    /// Whether the broker is away; counts that somebody noticed.
    pub(crate) fn broker_is_away(&self) -> bool {
        let away = self.outages().broker;
        if away {
            self.count("broker_outage");
        }
        away
    }

    pub(crate) fn random(&self) -> u64 {
        self.runtime.random()
    }

    pub(crate) fn runtime(&self) -> &SharedRuntime {
        &self.runtime
    }
}
