//! The settings of the service.

use std::time::Duration;

/// The durations of a shipment. They stand in for a warehouse and a carrier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The time from the creation to the dispatch.
    pub dispatch_after: Duration,
    /// The time from the dispatch to the delivery.
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
