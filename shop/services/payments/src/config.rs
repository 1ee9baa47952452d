//! Settings.

use wingbeat::TargetPolicy;

/// The provider's base URL.
#[derive(Clone, Debug)]
pub struct ProviderUrl(pub String);

/// Where the provider is, and how it is called.
#[derive(Clone, Debug)]
pub struct Config {
    /// The provider.
    pub provider: ProviderUrl,
    /// Timeout, bulkhead, retry and breaker of all calls to it.
    pub target: TargetPolicy,
}
