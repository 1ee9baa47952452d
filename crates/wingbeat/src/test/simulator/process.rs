//! The definition of a simulated process.

use std::sync::Arc;

use crate::App;
use crate::Ports;

/// Builds the app of a process from its ports.
pub type Build = Arc<dyn Fn(&Ports) -> App + Send + Sync>;

/// A process of the system.
#[derive(Clone)]
pub struct Process {
    pub(super) service: &'static str,
    pub(super) replicas: usize,
    pub(super) build: Build,
}

impl Process {
    /// Creates a process that runs this app. Clients address it by this name.
    pub fn new(
        service: &'static str,
        build: impl Fn(&Ports) -> App + Send + Sync + 'static,
    ) -> Self {
        Self {
            service,
            replicas: 1,
            build: Arc::new(build),
        }
    }

    /// Runs this many replicas of the process.
    #[must_use]
    pub fn replicas(self, replicas: usize) -> Self {
        Self { replicas, ..self }
    }
}
