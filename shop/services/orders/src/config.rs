//! Settings: every deadline of the checkout.

use std::time::Duration;

/// Deadlines and limits.
#[derive(Clone, Debug)]
pub struct Config {
    /// A step that was not answered by then is asked again.
    pub resend_after: Duration,
    /// An authorization unanswered for so long sets `payment_delayed`.
    pub delayed_after: Duration,
    /// The longest wait for an authorization.
    pub payment_timeout: Duration,
    /// How long placing an order waits for the view of the caller's cart to catch up.
    pub cart_wait: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            resend_after: Duration::from_secs(10),
            delayed_after: Duration::from_secs(10),
            payment_timeout: Duration::from_secs(24 * 3600),
            cart_wait: Duration::from_secs(2),
        }
    }
}
