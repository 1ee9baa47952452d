//! The settings of the service.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wingbeat::{JsonSchema, schemars};

/// The settings of orders.
#[derive(Clone, Debug)]
pub struct Config {
    /// The deadlines of the checkout.
    pub deadlines: Deadlines,
    /// The longest wait of `POST /orders` for the copy of the caller's cart to catch up.
    pub cart_wait: Duration,
    /// The pause between two deletions of flash sales that ended long ago.
    pub sales_forget: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            deadlines: Deadlines::default(),
            cart_wait: Duration::from_secs(2),
            sales_forget: Duration::from_secs(60),
        }
    }
}

/// The deadlines of the checkout. The start message carries them, so that an order keeps those it
/// began with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Deadlines {
    /// The time after which an unanswered command is sent again.
    pub resend_after: Duration,
    /// The time after which an unanswered authorization sets `payment_delayed`.
    pub delayed_after: Duration,
    /// The longest wait for an authorization.
    pub payment_timeout: Duration,
    /// The longest wait for the authorization of an order of a flash sale.
    #[serde(default = "flash_payment_timeout")]
    pub flash_payment_timeout: Duration,
}

fn flash_payment_timeout() -> Duration {
    Duration::from_secs(5 * 60)
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            resend_after: Duration::from_secs(10),
            delayed_after: Duration::from_secs(10),
            payment_timeout: Duration::from_secs(24 * 3600),
            flash_payment_timeout: flash_payment_timeout(),
        }
    }
}
