//! What runs: a process, and how it is made.

use std::sync::Arc;

use crate::App;
use crate::Ports;

/// Makes the app that a process runs, from its ports.
pub type Build = Arc<dyn Fn(&Ports) -> App + Send + Sync>;

/// A process of the system.
#[derive(Clone)]
pub struct Process {
    pub(super) service: &'static str,
    pub(super) replicas: usize,
    pub(super) build: Build,
}

impl Process {
    /// A process that runs this app. Clients ask it by this name.
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

    /// So many of them, side by side.
    #[must_use]
    pub fn replicas(self, replicas: usize) -> Self {
        Self { replicas, ..self }
    }
}
