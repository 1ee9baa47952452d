//! Settings.

use std::time::Duration;

/// How long goods are held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// From the reservation on. Long enough for a payment that is answered at all.
    pub hold_for: Duration,
    /// From an extension on. Longer than checkout waits for a delayed payment (24 h).
    pub extend_for: Duration,
    /// The pause between looks for reservations that have expired.
    pub expiry_scan: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hold_for: Duration::from_secs(15 * 60),
            extend_for: Duration::from_secs(25 * 3600),
            expiry_scan: Duration::from_secs(5),
        }
    }
}
