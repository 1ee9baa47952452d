//! The fault injector: the probabilities of faults, current outages, and the number of times that
//! each fault took effect.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{Error, Result, RuntimeExt as _, Timestamp};

use super::lock;

/// The longest pause of a slow consumer between deliveries.
const SLOW: Duration = Duration::from_secs(2);

/// The probabilities of faults, in parts per 1,000. All are zero by default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// The reply to a commit is lost. All of its units take effect, only the first ones, or none.
    pub commit_unknown: u64,
    /// The store does not answer.
    pub store_unavailable: u64,
    /// A published message is not confirmed, whether or not the broker accepted it.
    pub confirm_lost: u64,
    /// The broker delivers a message two to five times.
    pub duplicate: u64,
    /// A consumer pauses before it receives more deliveries.
    pub slow_consumer: u64,
    /// An outside system refuses a call, which has no effect.
    pub outside_fails: u64,
    /// An outside system never answers a call, whether or not the call took effect.
    pub outside_hangs: u64,
    /// A call to an outside system takes effect, and its answer is lost.
    pub outside_reply_lost: u64,
    /// A service handles the request of a client, and the answer is lost.
    pub answer_lost: u64,
    /// The longest delay of an operation.
    pub delay: Duration,
}

/// Current outages of servers. None by default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outages {
    /// The store does not answer.
    pub store: bool,
    /// The broker does not answer, and its consumers are lost.
    pub broker: bool,
    /// The broker delivers messages but blocks publishers.
    pub broker_blocked: bool,
    /// The cache does not answer.
    pub cache: bool,
}

/// The name of the cache in [`Injector::used`].
pub(crate) const CACHE: &str = "cache";
/// The name of the clients' requests in [`Injector::used`].
pub(crate) const CLIENT: &str = "client";
/// The name of outside calls in [`Injector::used`].
pub(crate) const OUTSIDE: &str = "outside";

/// The number of times that each fault took effect.
pub type FaultCounts = BTreeMap<&'static str, u64>;

#[derive(Default)]
struct State {
    faults: Faults,
    outages: Outages,
    counts: FaultCounts,
    used: BTreeSet<&'static str>,
    /// Events that concern the whole system, for timelines.
    events: Vec<(Timestamp, String)>,
}

/// Decides when faults take effect. All parts of a model share it.
#[derive(Clone)]
pub(crate) struct Injector {
    runtime: SharedRuntime,
    state: Arc<Mutex<State>>,
}

impl Injector {
    pub(crate) fn new(runtime: SharedRuntime) -> Self {
        Self {
            runtime,
            state: Arc::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(crate) fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    pub(crate) fn set_outages(&self, outages: Outages) {
        self.state().outages = outages;
    }

    pub(crate) fn outages(&self) -> Outages {
        self.state().outages
    }

    pub(crate) fn fault_counts(&self) -> FaultCounts {
        self.state().counts.clone()
    }

    pub(crate) fn events(&self) -> Vec<(Timestamp, String)> {
        self.state().events.clone()
    }

    /// Counts a fault that took effect.
    pub(crate) fn count(&self, fault: &'static str) {
        *self.state().counts.entry(fault).or_default() += 1;
    }

    /// Records that the system uses a part that only some systems have.
    pub(crate) fn record_use(&self, part: &'static str) {
        self.state().used.insert(part);
    }

    /// Returns the recorded parts: faults of other parts cannot take effect.
    pub(crate) fn used(&self) -> BTreeSet<&'static str> {
        self.state().used.clone()
    }

    /// Records an event that concerns the whole system.
    pub(crate) fn log(&self, event: String) {
        let now = self.runtime.now();
        self.state().events.push((now, event));
    }

    /// Decides whether a fault takes effect now, and counts it if so.
    pub(crate) fn occurs(&self, name: &'static str, share: impl Fn(&Faults) -> u64) -> bool {
        let share = share(&self.state().faults);
        let occurs = share > 0 && self.runtime.random() % 1_000 < share;
        if occurs {
            self.count(name);
        }
        occurs
    }

    pub(crate) async fn delay(&self) {
        let max = self.state().faults.delay;
        if max > Duration::ZERO {
            self.count("delay");
        }
        self.runtime.sleep(self.runtime.jitter(max)).await;
    }

    /// Returns the pause of a slow consumer, if the fault takes effect now.
    pub(crate) fn slow_consumer_pause(&self) -> Option<Duration> {
        let slow = self.occurs("slow_consumer", |faults| faults.slow_consumer);
        slow.then(|| self.runtime.jitter(SLOW))
    }

    pub(crate) async fn reach_store(&self) -> Result<()> {
        self.delay().await;
        let unavailable = self.outages().store;
        if unavailable {
            self.count("store_outage");
        }
        if unavailable || self.occurs("store_unavailable", |faults| faults.store_unavailable) {
            return Err(Error::retry(
                "store_unavailable",
                "the store does not answer",
            ));
        }
        Ok(())
    }

    /// Returns whether the broker is unavailable, and counts the attempt to reach it if so.
    pub(crate) fn broker_is_unavailable(&self) -> bool {
        let unavailable = self.outages().broker;
        if unavailable {
            self.count("broker_outage");
        }
        unavailable
    }

    pub(crate) fn random(&self) -> u64 {
        self.runtime.random()
    }

    pub(crate) fn runtime(&self) -> &SharedRuntime {
        &self.runtime
    }
}
