//! The context of a running service.

use std::sync::Arc;

use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{Cache, HttpClient, Name, ServiceStore};

use crate::commit::Committer;
use crate::trust::Commands;

/// A running service, for code beside its handlers: seeding, routes, audits.
///
/// Handlers do not get it: they record effects through their extractors, and only the runtime
/// commits. Pass it to [`run_unit`](crate::run_unit) to commit a unit of work, or read the
/// service's data through [`Reads`](crate::Reads).
pub struct ServiceContext {
    pub(crate) name: Name,
    pub(crate) store: ServiceStore,
    pub(crate) committer: Arc<Committer>,
    pub(crate) runtime: SharedRuntime,
    pub(crate) cache: Arc<dyn Cache>,
    pub(crate) http: Arc<dyn HttpClient>,
    pub(crate) trust: Option<Arc<Commands>>,
}

impl ServiceContext {
    /// Returns the service's name.
    #[must_use]
    pub fn name(&self) -> Name {
        self.name
    }

    /// Returns the port for time, chance and tasks.
    #[must_use]
    pub fn runtime(&self) -> &SharedRuntime {
        &self.runtime
    }

    /// Returns the cache that all services share.
    #[must_use]
    pub fn cache(&self) -> &Arc<dyn Cache> {
        &self.cache
    }
}
