//! The ports of an app.

use std::sync::Arc;
use std::time::Duration;

use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::{Cache, Error, HttpClient, Result, RuntimeExt as _, Store, Transport};

/// A server that has not answered by then counts as unavailable.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

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

impl Ports {
    /// Checks that the store and the broker can be used.
    ///
    /// The cache is not part of it: its readers work without it. Check it with
    /// [`Cache::ping`](crate::cache::Cache::ping).
    ///
    /// # Errors
    ///
    /// `store_unavailable`, `broker_unavailable` or another code of the adapters;
    /// `servers_unavailable` if they do not answer within three seconds.
    pub async fn ping(&self) -> Result<()> {
        let both = async {
            self.store.ping().await?;
            self.transport.ping().await
        };
        let answered = self.runtime.timeout(ANSWER_WITHIN, both).await;
        answered.unwrap_or_else(|| {
            let text = "the store or the broker does not answer in time";
            Err(Error::retry("servers_unavailable", text))
        })
    }

    /// Checks that the cache can be used, within the same time limit.
    #[cfg(feature = "host")]
    pub(crate) async fn ping_cache(&self) -> Result<()> {
        let answered = self.runtime.timeout(ANSWER_WITHIN, self.cache.ping()).await;
        answered.unwrap_or_else(|| {
            let text = "the cache does not answer in time";
            Err(Error::retry("cache_unavailable", text))
        })
    }
}
