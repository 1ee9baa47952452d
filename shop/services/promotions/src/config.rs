//! The settings of the service.

use std::time::Duration;

/// The settings of promotions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The discount of the welcome promo, in percent.
    pub welcome_percent: u8,
    /// The time until the welcome promo expires.
    pub welcome_for: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            welcome_percent: 10,
            welcome_for: Duration::from_secs(30 * 24 * 3600),
        }
    }
}
