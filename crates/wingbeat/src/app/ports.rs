//! The ports of an app.

use std::sync::Arc;

use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{Cache, HttpClient, Store, Transport};

/// The adapters on which an app runs.
///
/// `wingbeat::run` creates them from the settings. Other hosts create them directly.
#[derive(Clone)]
pub struct Ports {
    /// Clocks, timers, tasks and random numbers.
    pub runtime: SharedRuntime,
    /// Durable data of services.
    pub store: Arc<dyn Store>,
    /// Messages between services.
    pub transport: Arc<dyn Transport>,
    /// Sessions, cached reads, rate limits.
    pub cache: Arc<dyn Cache>,
    /// An HTTP client for outside systems.
    pub http: Arc<dyn HttpClient>,
}
