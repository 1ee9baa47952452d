//! The split model: a store with an outbox, a broker, a cache. Durable over a crash of the services,
//! because it lives outside of them.

mod cache;
mod data;
mod outbox;
mod store;
mod transport;
mod view;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{Error, Result, RuntimeExt as _};

pub use cache::ModelCache;
pub use store::ModelStore;
pub use transport::ModelTransport;

/// What goes wrong, as shares of 1,000. All zero by default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A commit happens, or only its first units do, and its answer is lost.
    pub commit_unknown: u64,
    /// The store does not answer.
    pub store_away: u64,
    /// A published message is not confirmed, whether it was taken or not.
    pub confirm_lost: u64,
    /// A delivery comes twice.
    pub duplicate: u64,
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
    /// The cache answers nothing.
    pub cache: bool,
}

/// Says that this build is broken on purpose.
#[cfg(feature = "sabotage-no-inbox")]
const SABOTAGE: &str = "WINGBEAT-SABOTAGE: the inbox is ignored";

/// Chance and faults, shared by the parts.
#[derive(Clone)]
pub(crate) struct Weather {
    runtime: SharedRuntime,
    faults: Arc<Mutex<Faults>>,
    outages: Arc<Mutex<Outages>>,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Weather {
    fn faults(&self) -> MutexGuard<'_, Faults> {
        lock(&self.faults)
    }

    pub(crate) fn outages(&self) -> Outages {
        *lock(&self.outages)
    }

    pub(crate) fn strikes(&self, fault: impl Fn(&Faults) -> u64) -> bool {
        let share = fault(&self.faults());
        share > 0 && self.runtime.random() % 1_000 < share
    }

    pub(crate) async fn delay(&self) {
        let most = self.faults().delay;
        self.runtime.sleep(self.runtime.jitter(most)).await;
    }

    pub(crate) async fn reach_store(&self) -> Result<()> {
        self.delay().await;
        if self.outages().store || self.strikes(|faults| faults.store_away) {
            return Err(Error::retry("store_away", "the store does not answer"));
        }
        Ok(())
    }

    pub(crate) fn random(&self) -> u64 {
        self.runtime.random()
    }

    pub(crate) fn runtime(&self) -> &SharedRuntime {
        &self.runtime
    }
}

/// Store, transport and cache of one world.
#[derive(Clone)]
pub struct Model {
    /// What must last.
    pub store: Arc<ModelStore>,
    /// What travels.
    pub transport: Arc<ModelTransport>,
    /// What is quick.
    pub cache: Arc<ModelCache>,
    weather: Weather,
}

impl Model {
    /// An empty world without faults.
    #[must_use]
    pub fn new(runtime: SharedRuntime) -> Self {
        let weather = Weather {
            runtime,
            faults: Arc::default(),
            outages: Arc::default(),
        };
        Self {
            store: Arc::new(ModelStore::new(weather.clone())),
            transport: Arc::new(ModelTransport::new(weather.clone())),
            cache: Arc::new(ModelCache::new(weather.clone())),
            weather,
        }
    }

    /// Replaces all faults.
    pub fn set_faults(&self, faults: Faults) {
        *self.weather.faults() = faults;
    }

    /// Replaces all outages.
    pub fn set_outages(&self, outages: Outages) {
        *lock(&self.weather.outages) = outages;
        self.transport.weather_changed();
    }

    /// Restarts store, broker and cache: what they promise to keep stays, leases and the rest are gone.
    pub fn restart(&self) {
        self.store.restart();
        self.transport.restart();
        self.cache.restart();
    }
}
