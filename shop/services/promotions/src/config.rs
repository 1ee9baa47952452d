//! The settings of the service.

use std::time::Duration;

use shop_contracts::Percent;

/// The default discount of the welcome promo.
const WELCOME: Percent = Percent::new(10).expect("10 is a discount");

/// The settings of promotions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The discount of the welcome promo, in percent.
    pub welcome_percent: Percent,
    /// The time until the welcome promo expires.
    pub welcome_for: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            welcome_percent: WELCOME,
            welcome_for: Duration::from_secs(30 * 24 * 3600),
        }
    }
}
