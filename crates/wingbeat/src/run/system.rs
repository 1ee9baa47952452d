use std::collections::BTreeSet;
use std::sync::Arc;

use crate::{Error, Name, Ports, Reads, Result, Running, ServiceContext};

/// The services that run at one moment, for code that reads several of them: lists, timelines,
/// audits.
#[derive(Clone)]
pub struct RunningSystem {
    /// The ports that they share.
    pub ports: Ports,
    /// The running apps, replicas included.
    pub running: Vec<Arc<Running>>,
}

impl RunningSystem {
    /// Returns the names of the services.
    #[must_use]
    pub fn services(&self) -> BTreeSet<Name> {
        self.running.iter().flat_map(|it| it.services()).collect()
    }

    /// Returns a service.
    ///
    /// # Errors
    ///
    /// `service_unavailable` if it does not run.
    pub fn service(&self, name: &str) -> Result<Arc<ServiceContext>> {
        let mut found = self.running.iter().filter_map(|it| it.service(name));
        found.next().ok_or_else(|| away(name))
    }

    /// Returns read access to a service's own data.
    ///
    /// # Errors
    ///
    /// `service_unavailable` if it does not run.
    pub fn reads(&self, name: &str) -> Result<Reads> {
        let mut found = self.running.iter().filter_map(|it| it.reads(name));
        found.next().ok_or_else(|| away(name))
    }
}

fn away(name: &str) -> Error {
    Error::retry(
        "service_unavailable",
        format!("the service {name} is not available"),
    )
}
