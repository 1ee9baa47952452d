//! The limits of one subscription or outside system in this process, which can change.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use wingbeat_core::Cache;
use wingbeat_core::runtime::SharedRuntime;

use super::{Limiter, Places, Tenants};
use crate::policy::{Limits, Rate};

/// How much happens at the same time, and how often it starts. All partitions of a subscription
/// share one flow.
pub(crate) struct Flow {
    /// Tells limits apart; all replicas use the same name.
    name: String,
    cache: Arc<dyn Cache>,
    runtime: SharedRuntime,
    current: watch::Sender<Limits>,
    places: Arc<Places>,
    /// The places of all runs of the service, if it limits them.
    shared: Option<Arc<Places>>,
    /// Set if the concurrency of each tenant is limited, too.
    tenants: Option<Arc<Tenants>>,
    limiter: Mutex<Option<Arc<Limiter>>>,
}

impl Flow {
    pub(crate) fn new(
        name: impl Into<String>,
        limits: Limits,
        shared: Option<Arc<Places>>,
        cache: &Arc<dyn Cache>,
        runtime: &SharedRuntime,
    ) -> Arc<Self> {
        let flow = Self {
            name: name.into(),
            cache: Arc::clone(cache),
            runtime: Arc::clone(runtime),
            current: watch::Sender::new(limits),
            places: Places::new(limits.concurrency),
            shared,
            tenants: limits
                .per_tenant
                .map(|each| Tenants::new(each, Arc::clone(runtime))),
            limiter: Mutex::default(),
        };
        flow.limit(limits.rate);
        Arc::new(flow)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn limits(&self) -> Limits {
        *self.current.borrow()
    }

    /// Changes the limits. What has begun goes on.
    pub(crate) fn set(&self, limits: Limits) {
        self.current.send_if_modified(|current| {
            let changes = *current != limits;
            if current.concurrency != limits.concurrency {
                self.places.resize(limits.concurrency);
            }
            if let (Some(tenants), Some(each)) = (&self.tenants, limits.per_tenant) {
                tenants.resize(each);
            }
            if current.rate != limits.rate {
                self.limit(limits.rate);
            }
            *current = limits;
            changes
        });
    }

    fn limit(&self, rate: Option<Rate>) {
        let limiter = rate.map(|rate| {
            let (cache, runtime) = (Arc::clone(&self.cache), Arc::clone(&self.runtime));
            Arc::new(Limiter::new(&self.name, rate, cache, runtime))
        });
        let mut current = self.limiter.lock().unwrap_or_else(PoisonError::into_inner);
        *current = limiter;
    }

    /// Follows the limits.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Limits> {
        self.current.subscribe()
    }

    pub(crate) fn places(&self) -> Arc<Places> {
        Arc::clone(&self.places)
    }

    /// Returns whether the priority has an effect: whether runs wait for those of other
    /// subscriptions.
    pub(crate) fn has_priority(&self) -> bool {
        self.shared.is_some()
    }

    /// Returns the places that all subscriptions of the service share, if it limits its runs.
    pub(super) fn shared(&self) -> Option<Arc<Places>> {
        self.shared.clone()
    }

    /// Returns the shares of tenants, if the code limits their concurrency.
    pub(crate) fn tenants(&self) -> Option<Arc<Tenants>> {
        self.tenants.clone()
    }

    /// Returns the limiter of the current rate, if there is one.
    pub(crate) fn limiter(&self) -> Option<Arc<Limiter>> {
        let limiter = self.limiter.lock().unwrap_or_else(PoisonError::into_inner);
        limiter.clone()
    }
}
