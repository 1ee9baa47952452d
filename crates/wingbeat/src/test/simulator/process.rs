//! Simulated processes.

use std::sync::Arc;

use crate::App;
use crate::Ports;

/// Builds the app of a process from its ports.
pub type Build = Arc<dyn Fn(&Ports) -> App + Send + Sync>;

/// A process of the system under simulation. Its app may contain several services.
#[derive(Clone)]
pub struct Process {
    pub(super) service: &'static str,
    pub(super) replicas: usize,
    pub(super) build: Build,
}

impl Process {
    /// Creates a process. `build` creates its app at each start; clients send requests to
    /// `service`.
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

    /// Sets the number of replicas. The default is 1.
    #[must_use]
    pub fn replicas(self, replicas: usize) -> Self {
        Self { replicas, ..self }
    }
}
