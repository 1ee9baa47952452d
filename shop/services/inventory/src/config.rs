//! The settings of the service.

use std::time::Duration;

/// The settings of inventory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The lifetime of a reservation. It covers a payment that the provider answers without a
    /// delay.
    pub hold_for: Duration,
    /// The lifetime of a reservation after an extension. It exceeds the checkout's wait for a
    /// delayed payment (24 h).
    pub extend_for: Duration,
    /// The pause between scans for expired reservations.
    pub expiry_scan: Duration,
    /// The pause between two batches of claims on flash sales.
    pub claims_drain: Duration,
    /// The pause between scans for claims and flash sales that have ended.
    pub sales_scan: Duration,
    /// The pause between two deletions of flash sales that ended long ago.
    pub sales_forget: Duration,
    /// `true` to limit the claims of a user.
    pub rate_limits: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hold_for: Duration::from_secs(15 * 60),
            extend_for: Duration::from_secs(25 * 3600),
            expiry_scan: Duration::from_secs(5),
            claims_drain: Duration::from_millis(100),
            sales_scan: Duration::from_secs(1),
            sales_forget: Duration::from_secs(10),
            rate_limits: true,
        }
    }
}
