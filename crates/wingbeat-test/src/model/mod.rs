//! The split model: a store with an outbox, a broker, a cache. Durable over a crash of the services,
//! because it lives outside of them.
//!
//! It keeps exactly the promises of the ports. What they do not promise is scrambled: the order of
//! deliveries, how long anything takes. On request it misbehaves in every way that the ports allow.
//!
//! - `store`, `data`, `outbox`, `view`: what must last. `transport`: what travels. `cache`: what is quick.
//! - `weather`: what goes wrong. `process`: the ports as one process sees them, dead once it is.
//! - `log`: what was committed, for stories and checks.

mod cache;
mod data;
mod log;
mod outbox;
mod process;
mod store;
mod transport;
mod view;
mod weather;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use wingbeat::app::Ports;
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{HttpClient, Timestamp};

use crate::executor::Group;

pub use cache::ModelCache;
pub use log::Committed;
pub(crate) use log::twice;
pub use store::ModelStore;
pub use transport::ModelTransport;
pub(crate) use weather::Weather;
pub use weather::{Faults, Fired, Outages};

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
    pub(crate) weather: Weather,
}

impl Model {
    /// An empty world without faults.
    #[must_use]
    pub fn new(runtime: SharedRuntime) -> Self {
        let weather = Weather::new(runtime);
        Self {
            store: Arc::new(ModelStore::new(weather.clone())),
            transport: Arc::new(ModelTransport::new(weather.clone())),
            cache: Arc::new(ModelCache::new(weather.clone())),
            weather,
        }
    }

    /// The ports as a process of its own sees them. Once it was killed they never answer again, so that
    /// nothing of its life reaches the next one.
    #[must_use]
    pub fn ports(&self, process: &Arc<Group>, outside: Arc<dyn HttpClient>) -> Ports {
        process::ports(self, process, outside)
    }

    /// Replaces all faults.
    pub fn set_faults(&self, faults: Faults) {
        self.weather.set_faults(faults);
    }

    /// Replaces all outages.
    pub fn set_outages(&self, outages: Outages) {
        let before = self.weather.outages();
        self.weather.set_outages(outages);
        self.transport.weather_changed(before, outages);
    }

    /// How often each fault took effect.
    #[must_use]
    pub fn fired(&self) -> Fired {
        self.weather.fired()
    }

    /// Restarts store, broker and cache: what they promise to keep stays, leases and the rest are gone.
    pub fn restart(&self) {
        self.store.restart();
        self.transport.restart();
        self.cache.restart();
    }

    /// What is still to be done: messages in the outbox and in queues, and records due before `until`.
    /// Empty when the system rests.
    #[must_use]
    pub fn unsettled(&self, until: Timestamp) -> Vec<String> {
        let mut left = self.store.unsettled(until);
        left.extend(self.transport.unsettled());
        left
    }
}
