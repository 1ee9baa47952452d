//! The split model: a store with an outbox, a broker, a cache. Durable over a crash of the
//! services, because it lives outside of them.
//!
//! It keeps exactly the promises of the ports. What they do not promise is scrambled: the order of
//! deliveries, how long anything takes. On request it misbehaves in every way that the ports allow.
//!
//! - `store`, `data`, `outbox`, `view`: what must last. `transport`: what travels. `cache`: what is
//!   quick.
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

/// The pause before a message is published again that was not confirmed.
const REPUBLISH: Duration = Duration::from_millis(200);
/// The pause between looks whether the system rests…
const LOOK: Duration = Duration::from_millis(250);
/// …and how many in a row must say so: a schedule may begin something in between.
const QUIET: u32 = 3;

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

    /// The ports as a process of its own sees them. Once it was killed they never answer again, so
    /// that nothing of its life reaches the next one.
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

    /// Restarts store, broker and cache: what they promise to keep stays, leases and the rest are
    /// gone.
    pub fn restart(&self) {
        self.store.restart();
        self.transport.restart();
        self.cache.restart();
    }

    /// Publishes a message as a stranger would, as part of a story, until it is confirmed; each
    /// time a new message.
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

    /// Lets time pass until nothing is left to be done that is due within `horizon`, for at most
    /// `limit`; what is left then.
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

    /// What is still to be done: messages in the outbox and in queues, and records due before
    /// `until`. Empty when the system rests.
    #[must_use]
    pub fn unsettled(&self, until: Timestamp) -> Vec<String> {
        let mut left = self.store.unsettled(until);
        left.extend(self.transport.unsettled());
        left
    }
}
