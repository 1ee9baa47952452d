//! Settings.

use std::time::Duration;

/// How long a shipment takes. The stand-in for a warehouse and a carrier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// From its creation to its dispatch.
    pub dispatch_after: Duration,
    /// From its dispatch to its delivery.
    pub deliver_after: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            dispatch_after: Duration::from_secs(2),
            deliver_after: Duration::from_secs(2),
        }
    }
}
