use std::sync::Arc;

use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{Cache, HttpClient, Store, Transport};

/// The adapters that services run on.
#[derive(Clone)]
pub struct Ports {
    /// Clock, randomness and tasks.
    pub runtime: SharedRuntime,
    /// Durable data.
    pub store: Arc<dyn Store>,
    /// Messages between services.
    pub transport: Arc<dyn Transport>,
    /// Sessions, cached reads, rate limits.
    pub cache: Arc<dyn Cache>,
    /// HTTP to outside systems.
    pub http: Arc<dyn HttpClient>,
}
