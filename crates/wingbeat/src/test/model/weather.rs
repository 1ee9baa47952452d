//! Faults and outages: their chances, and the number of times that they took effect.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{Error, Result, RuntimeExt as _, Timestamp};

use super::lock;

/// The longest pause of a slow consumer between deliveries.
const SLOW: Duration = Duration::from_secs(2);

/// The chances of faults, in parts per 1,000. All are zero by default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// The reply to a commit is lost; all of its units take effect, or only the first ones.
    pub commit_unknown: u64,
    /// The store does not answer.
    pub store_unavailable: u64,
    /// A published message is not confirmed, whether or not the broker accepted it.
    pub confirm_lost: u64,
    /// A message is delivered two to five times.
    pub duplicate: u64,
    /// A consumer pauses before it takes more deliveries.
    pub slow_consumer: u64,
    /// A call to an outside system is refused and has no effect.
    pub outside_fails: u64,
    /// A call to an outside system is never answered, whether or not it took effect.
    pub outside_hangs: u64,
    /// A call to an outside system takes effect, and its answer is lost.
    pub outside_reply_lost: u64,
    /// A client's request is handled, and the answer is lost.
    pub answer_lost: u64,
    /// The longest delay of an operation.
    pub delay: Duration,
}

/// Outages of servers. None by default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outages {
    /// The store does not answer.
    pub store: bool,
    /// The broker does not answer, and its consumers are lost.
    pub broker: bool,
    /// The broker delivers, and blocks publishers.
    pub broker_blocked: bool,
    /// The cache does not answer.
    pub cache: bool,
}

/// Used by a system with a cache.
pub(crate) const CACHE: &str = "cache";
/// Used by a system that clients send requests to.
pub(crate) const CLIENT: &str = "client";
/// Used by a system that calls outside systems.
pub(crate) const OUTSIDE: &str = "outside";

/// The number of times that each fault took effect.
pub type Fired = BTreeMap<&'static str, u64>;

#[derive(Default)]
struct Sky {
    faults: Faults,
    outages: Outages,
    fired: Fired,
    used: BTreeSet<&'static str>,
    /// Events that concern the whole system, for the story of a failure.
    told: Vec<(Timestamp, String)>,
}

/// The randomness and the faults, shared by the parts of a model.
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

    /// Notes an event that concerns the whole system.
    pub(crate) fn tell(&self, what: String) {
        let now = self.runtime.now();
        self.sky().told.push((now, what));
    }

    /// Decides whether a fault takes effect now, and counts it if so.
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

    /// Returns the pause of a slow consumer, if the fault takes effect now.
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
        if away || self.strikes("store_unavailable", |faults| faults.store_unavailable) {
            return Err(Error::retry(
                "store_unavailable",
                "the store does not answer",
            ));
        }
        Ok(())
    }

    /// Returns whether the broker is unavailable, and counts the attempt to reach it if so.
    pub(crate) fn broker_is_unavailable(&self) -> bool {
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
