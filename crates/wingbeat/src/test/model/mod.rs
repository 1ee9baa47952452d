//! The model: a store with an outbox, a broker and a cache in memory. It outlives the simulated
//! processes, so its data survives their crashes.
//!
//! The model keeps the guarantees of the ports and no others. Everything that a port leaves open is
//! random: the order of deliveries, the duration of an operation. On request the model injects
//! every fault that the ports allow.
//!
//! - `store`, `data`, `outbox`, `view`, `bodies`: the store. `transport`: the broker. `cache`: the
//!   cache.
//! - `injector`: the faults.
//! - `process`: the ports of one process. Once the process is killed, they never answer.
//! - `log`: the committed units, for timelines and checks.

mod bodies;
mod cache;
mod data;
mod injector;
mod log;
mod outbox;
mod process;
mod store;
mod transport;
mod view;

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
pub(crate) use injector::{CACHE, CLIENT, Injector, OUTSIDE};
pub use injector::{FaultCounts, Faults, Outages};
pub use log::Committed;
pub(crate) use log::repeated_effects;
pub use store::ModelStore;
pub use transport::ModelTransport;

/// The pause before an unconfirmed message is published again.
const REPUBLISH: Duration = Duration::from_millis(200);
/// The pause between two checks for idleness.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// The number of consecutive checks that must succeed. One is too few: a fault may begin, and
/// create work, between two checks.
const IDLE_CHECKS: u32 = 3;

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The store, the broker and the cache of one world.
///
/// ```
/// use std::time::Duration;
/// use wingbeat::test::{Faults, Model, Simulation};
///
/// let simulation = Simulation::new(1);
/// let model = Model::new(simulation.runtime());
/// model.set_faults(Faults { delay: Duration::from_millis(50), ..Faults::default() });
/// assert!(model.unsettled(Default::default()).is_empty());
/// ```
#[derive(Clone)]
pub struct Model {
    /// The store.
    pub store: Arc<ModelStore>,
    /// The broker.
    pub transport: Arc<ModelTransport>,
    /// The cache.
    pub cache: Arc<ModelCache>,
    pub(crate) injector: Injector,
}

impl Model {
    /// Creates an empty model without faults.
    #[must_use]
    pub fn new(runtime: SharedRuntime) -> Self {
        let injector = Injector::new(runtime);
        Self {
            store: Arc::new(ModelStore::new(injector.clone())),
            transport: Arc::new(ModelTransport::new(injector.clone())),
            cache: Arc::new(ModelCache::new(injector.clone())),
            injector,
        }
    }

    /// Returns the ports of a process. Once the process is killed, they never answer: its clients
    /// must not reach its successor.
    #[must_use]
    pub fn ports(&self, process: &Arc<Group>, outside: Arc<dyn HttpClient>) -> Ports {
        process::ports(self, process, outside)
    }

    /// Replaces the faults.
    pub fn set_faults(&self, faults: Faults) {
        self.injector.set_faults(faults);
    }

    /// Replaces the outages.
    pub fn set_outages(&self, outages: Outages) {
        let before = self.injector.outages();
        self.injector.set_outages(outages);
        self.transport.outages_changed(before, outages);
    }

    /// Returns the number of times that each fault took effect.
    #[must_use]
    pub fn fault_counts(&self) -> FaultCounts {
        self.injector.fault_counts()
    }

    /// Restarts store, broker and cache. Durable data remains; leases, consumers and volatile
    /// values are lost.
    pub fn restart(&self) {
        self.store.restart();
        self.transport.restart();
        self.cache.restart();
    }

    /// Publishes a message from outside of the system with this correlation id, and repeats it
    /// until the broker confirms it. Each call publishes a new message.
    ///
    /// # Panics
    ///
    /// If the message is a command without a queue.
    pub async fn publish<M: Message>(&self, correlation: CorrelationId, message: &M) {
        let runtime = self.injector.runtime();
        let envelope = Envelope {
            id: runtime.id().into(),
            source: "stranger".into(),
            kind: M::NAME.into(),
            role: M::KIND,
            key: message.key(),
            time: runtime.now(),
            correlation,
            causation: None,
            sequence: None,
            operation: None,
            traceparent: None,
            propagation: Default::default(),
            signature: None,
            dialog: None,
            body: crate::encode_body(message),
        };
        while let Err(refused) = &self.transport.publish(vec![envelope.clone()]).await[0] {
            let unroutable = *refused == Refused::Unroutable;
            assert!(!unroutable, "no service handles the command {}", M::NAME);
            runtime.sleep(REPUBLISH).await;
        }
    }

    /// Advances the time until no work is left that is due within `horizon`, for at most `limit`.
    /// Returns the work that is left then.
    pub async fn until_idle(&self, horizon: Duration, limit: Duration) -> Vec<String> {
        let runtime = self.injector.runtime();
        let deadline = runtime.now() + limit;
        let mut idle = 0;
        loop {
            let left = self.unsettled(runtime.now() + horizon);
            idle = if left.is_empty() { idle + 1 } else { 0 };
            if idle == IDLE_CHECKS || runtime.now() > deadline {
                return left;
            }
            runtime.sleep(CHECK_INTERVAL).await;
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
