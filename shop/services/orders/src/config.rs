//! Settings.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wingbeat::{JsonSchema, schemars};

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

/// The checkout's deadlines. They travel with the start, so that an order keeps the ones it began with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Deadlines {
    /// An unanswered command is sent again after so long.
    pub resend_after: Duration,
    /// An authorization unanswered for so long sets `payment_delayed`.
    pub delayed_after: Duration,
    /// The longest wait for an authorization.
    pub payment_timeout: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            resend_after: Duration::from_secs(10),
            delayed_after: Duration::from_secs(10),
            payment_timeout: Duration::from_secs(24 * 3600),
        }
    }
}
