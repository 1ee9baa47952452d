//! The settings of the service.

use wingbeat::TargetPolicy;

/// The provider's base URL.
#[derive(Clone, Debug)]
pub struct ProviderUrl(pub String);

/// The settings of payments.
#[derive(Clone, Debug)]
pub struct Config {
    /// The provider's base URL.
    pub provider: ProviderUrl,
    /// Timeout, bulkhead, retries and breaker of the calls to the provider.
    pub target: TargetPolicy,
}
