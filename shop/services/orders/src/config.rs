//! Settings.

use std::time::Duration;

use crate::checkout::Deadlines;

/// Deadlines and limits.
#[derive(Clone, Debug)]
pub struct Config {
    /// Of the checkout.
    pub deadlines: Deadlines,
    /// How long placing an order waits for the view of the caller's cart to catch up.
    pub cart_wait: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            deadlines: Deadlines::default(),
            cart_wait: Duration::from_secs(2),
        }
    }
}
