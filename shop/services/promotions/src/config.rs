//! Settings.

use std::time::Duration;

/// What a new user gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What the welcome promo takes off, in percent.
    pub welcome_percent: u8,
    /// How long it lives.
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
