//! The split model: a store with an outbox, a broker and a cache in memory. It outlives the
//! simulated processes, so its data survives their crashes.
//!
//! It keeps exactly the guarantees of the ports. Everything else is randomized: the order of
//! deliveries, the time that an operation takes. On request it shows every fault that the ports
//! allow.
//!
//! - `store`, `data`, `outbox`, `view`: the store. `transport`: the broker. `cache`: the cache.
//! - `weather`: the faults. `process`: the ports as one process sees them; they never answer once
//!   the process was killed.
//! - `log`: the committed units, for stories and checks.

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
use std::time::Duration;

use crate::Ports;
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::transport::Refused;
use wingbeat_core::{
    CorrelationId, Envelope, HttpClient, Message, RuntimeExt as _, Timestamp, Transport as _,
};

use crate::test::executor::Group;

pub use cache::ModelCache;
pub use log::Committed;
pub(crate) use log::twice;
pub use store::ModelStore;
pub use transport::ModelTransport;
pub(crate) use weather::{CACHE, CLIENT, OUTSIDE, Weather};
pub use weather::{Faults, Fired, Outages};

/// The pause before an unconfirmed message is published again.
const REPUBLISH: Duration = Duration::from_millis(200);
/// The pause between two checks for idleness…
const LOOK: Duration = Duration::from_millis(250);
/// …and the number of consecutive checks that must succeed: a fault may begin in between.
const QUIET: u32 = 3;

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Store, transport and cache of one world.
#[derive(Clone)]
pub struct Model {
    /// The store.
    pub store: Arc<ModelStore>,
    /// The broker.
    pub transport: Arc<ModelTransport>,
    /// The cache.
    pub cache: Arc<ModelCache>,
    pub(crate) weather: Weather,
}

impl Model {
    /// Creates an empty model without faults.
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

    /// Returns the ports for a process. Once it was killed they never answer, so that its clients
    /// cannot reach its successor.
    #[must_use]
    pub fn ports(&self, process: &Arc<Group>, outside: Arc<dyn HttpClient>) -> Ports {
        process::ports(self, process, outside)
    }

    /// Replaces the faults.
    pub fn set_faults(&self, faults: Faults) {
        self.weather.set_faults(faults);
    }

    /// Replaces the outages.
    pub fn set_outages(&self, outages: Outages) {
        let before = self.weather.outages();
        self.weather.set_outages(outages);
        self.transport.weather_changed(before, outages);
    }

    /// Returns the number of times that each fault took effect.
    #[must_use]
    pub fn fired(&self) -> Fired {
        self.weather.fired()
    }

    /// Restarts store, broker and cache. Durable data remains; leases, consumers and volatile
    /// values are lost.
    pub fn restart(&self) {
        self.store.restart();
        self.transport.restart();
        self.cache.restart();
    }

    /// Publishes a message from outside of the system with this correlation id, until it is
    /// confirmed. Each call publishes a new message.
    ///
    /// # Panics
    ///
    /// If no queue takes the command.
    pub async fn publish<M: Message>(&self, story: CorrelationId, message: &M) {
        let runtime = self.weather.runtime();
        let envelope = Envelope {
            id: runtime.id().into(),
            source: "stranger".into(),
            kind: M::NAME.into(),
            role: M::KIND,
            key: message.key(),
            time: runtime.now(),
            correlation: story,
            causation: None,
            sequence: None,
            operation: None,
            traceparent: None,
            body: crate::encode_body(message),
        };
        while let Err(refused) = &self.transport.publish(vec![envelope.clone()]).await[0] {
            let unroutable = *refused == Refused::Unroutable;
            assert!(!unroutable, "no service handles the command {}", M::NAME);
            runtime.sleep(REPUBLISH).await;
        }
    }

    /// Advances the time until nothing is left to do that is due within `horizon`, for at most
    /// `limit`. Returns the work that is left then.
    pub async fn until_idle(&self, horizon: Duration, limit: Duration) -> Vec<String> {
        let runtime = self.weather.runtime();
        let deadline = runtime.now() + limit;
        let mut quiet = 0;
        loop {
            let left = self.unsettled(runtime.now() + horizon);
            quiet = if left.is_empty() { quiet + 1 } else { 0 };
            if quiet == QUIET || runtime.now() > deadline {
                return left;
            }
            runtime.sleep(LOOK).await;
        }
    }

    /// Returns the work that is left: messages in the outbox and in queues, and records due before
    /// `until`. Empty if the system is idle.
    #[must_use]
    pub fn unsettled(&self, until: Timestamp) -> Vec<String> {
        let mut left = self.store.unsettled(until);
        left.extend(self.transport.unsettled());
        left
    }
}
