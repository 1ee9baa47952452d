//! The shop's own settings, beside those of Wingbeat.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::Deserialize;
use wingbeat::JsonSchema;

/// Settings of the whole shop.
pub type Settings = wingbeat::Settings<ShopSettings>;

/// The shop's own settings.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ShopSettings {
    /// The payment provider, instead of the stand-in
    #[schemars(extend("x-value" = "URL"))]
    pub provider: Option<String>,
    /// Run the stand-ins and /dev, for services that run by themselves
    pub dev: bool,
    /// Whether browsers keep sessions for HTTPS only, for a shop behind a proxy that ends TLS
    pub secure_cookies: bool,
    /// Whether failed logins and claims are limited; off for load tests
    pub rate_limits: bool,
    /// The time from a shipment's creation to its dispatch
    #[schemars(extend("x-value" = "TIME"))]
    pub shipping_dispatch_after: Duration,
    /// The time from a shipment's dispatch to its delivery
    #[schemars(extend("x-value" = "TIME"))]
    pub shipping_deliver_after: Duration,
    /// How long the checkout waits for an answer before it sends a command again
    #[schemars(extend("x-value" = "TIME"))]
    pub checkout_resend_after: Duration,
    /// How long an authorization may be unanswered before the order counts as `payment_delayed`
    #[schemars(extend("x-value" = "TIME"))]
    pub checkout_delayed_after: Duration,
    /// The longest wait for an authorization
    #[schemars(extend("x-value" = "TIME"))]
    pub checkout_payment_timeout: Duration,
    /// How long placing an order waits for the caller's cart to arrive
    #[schemars(extend("x-value" = "TIME"))]
    pub checkout_cart_wait: Duration,
    /// How long stock is held at first
    #[schemars(extend("x-value" = "TIME"))]
    pub inventory_hold_for: Duration,
    /// How long stock is held from an extension on
    #[schemars(extend("x-value" = "TIME"))]
    pub inventory_extend_for: Duration,
    /// How long catalogue reads are cached at most
    #[schemars(extend("x-value" = "TIME"))]
    pub catalog_cached_for: Duration,
    /// The memory that hashing a password takes, in KiB
    #[schemars(extend("x-value" = "KIB"))]
    pub password_memory_kib: NonZeroU32,
    /// The number of passes over that memory
    #[schemars(extend("x-value" = "N"))]
    pub password_passes: NonZeroU32,
    /// The admin's password; without it a random one is kept in the data directory
    #[schemars(extend("x-env" = "SHOP_ADMIN_PASSWORD", "x-secret" = true))]
    pub admin_password: Option<String>,
}

impl Default for ShopSettings {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        let hours = |hours: u64| seconds(hours * 3_600);
        Self {
            provider: None,
            dev: false,
            secure_cookies: false,
            rate_limits: true,
            shipping_dispatch_after: seconds(2),
            shipping_deliver_after: seconds(2),
            checkout_resend_after: seconds(10),
            checkout_delayed_after: seconds(10),
            checkout_payment_timeout: hours(24),
            checkout_cart_wait: seconds(2),
            inventory_hold_for: seconds(15 * 60),
            inventory_extend_for: hours(25),
            catalog_cached_for: seconds(2),
            password_memory_kib: NonZeroU32::new(19 * 1024).expect("not zero"),
            password_passes: NonZeroU32::new(2).expect("not zero"),
            admin_password: None,
        }
    }
}
