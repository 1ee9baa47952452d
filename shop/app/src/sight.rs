//! What looks across services sees: those that run, and what they run on.

use std::collections::BTreeSet;
use std::sync::Arc;

use wingbeat::app::Ports;
use wingbeat::scope::ServiceContext;
use wingbeat::{Error, Name, Reads, Result, Running};

/// The services that run at one moment.
#[derive(Clone)]
pub struct Sight {
    /// What they run on.
    pub ports: Ports,
    /// Each app; replicas too.
    pub running: Vec<Arc<Running>>,
}

fn away(name: &str) -> Error {
    Error::retry("service_away", format!("{name} is away"))
}

impl Sight {
    /// The names of the services.
    #[must_use]
    pub fn services(&self) -> BTreeSet<Name> {
        self.running.iter().flat_map(|it| it.services()).collect()
    }

    /// A service's context.
    ///
    /// # Errors
    ///
    /// Retry, while the service is away.
    pub fn service(&self, name: &str) -> Result<Arc<ServiceContext>> {
        let mut found = self.running.iter().filter_map(|it| it.service(name));
        found.next().ok_or_else(|| away(name))
    }

    /// A service's own data.
    ///
    /// # Errors
    ///
    /// Retry, while the service is away.
    pub fn reads(&self, name: &str) -> Result<Reads> {
        let mut found = self.running.iter().filter_map(|it| it.reads(name));
        found.next().ok_or_else(|| away(name))
    }
}
