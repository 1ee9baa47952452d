//! The shop's own settings, beside those of Wingbeat.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use serde::Deserialize;
use shop_identity::domain::password_fault;
use shop_notifications::smtp::{Sender, SmtpServer};
use wingbeat::{BaseUrl, JsonSchema, schemars};

/// Settings of the whole shop.
pub type Settings = wingbeat::Settings<ShopSettings>;

/// The shop's own settings.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ShopSettings {
    /// The payment provider, instead of the stand-in
    #[schemars(extend("x-value" = "URL"))]
    pub provider: Option<BaseUrl>,
    /// The mail server, instead of the mailbox: `smtp://…` (requires STARTTLS) or `smtps://…`
    #[schemars(extend("x-value" = "URL"))]
    pub smtp: Option<SmtpServer>,
    /// The sender of mails
    #[schemars(extend("x-value" = "ADDRESS"))]
    pub mail_from: Sender,
    /// Run the stand-ins and /dev, for services in separate processes
    pub dev: bool,
    /// Restrict session cookies to HTTPS, for a shop behind a proxy that terminates TLS
    pub secure_cookies: bool,
    /// Limit failed logins and claims; off for load tests
    pub rate_limits: bool,
    /// The time from a shipment's creation to its dispatch
    #[schemars(extend("x-value" = "TIME"))]
    pub shipping_dispatch_after: Duration,
    /// The time from a shipment's dispatch to its delivery
    #[schemars(extend("x-value" = "TIME"))]
    pub shipping_deliver_after: Duration,
    /// The time that the checkout waits for an answer before it resends a command
    #[schemars(extend("x-value" = "TIME"))]
    pub checkout_resend_after: Duration,
    /// The time without an answer after which an authorization counts as `payment_delayed`
    #[schemars(extend("x-value" = "TIME"))]
    pub checkout_delayed_after: Duration,
    /// The longest wait for an authorization
    #[schemars(extend("x-value" = "TIME"))]
    pub checkout_payment_timeout: Duration,
    /// The longest wait for the authorization of an order of a flash sale
    #[schemars(extend("x-value" = "TIME"))]
    pub checkout_flash_payment_timeout: Duration,
    /// The longest wait for the caller's cart when an order is placed
    #[schemars(extend("x-value" = "TIME"))]
    pub checkout_cart_wait: Duration,
    /// The time for which stock is reserved
    #[schemars(extend("x-value" = "TIME"))]
    pub inventory_hold_for: Duration,
    /// The time for which an extension reserves stock
    #[schemars(extend("x-value" = "TIME"))]
    pub inventory_extend_for: Duration,
    /// The pause between two batches of claims on flash sales
    #[schemars(extend("x-value" = "TIME"))]
    pub inventory_claims_drain: Duration,
    /// The longest time for which catalogue reads are cached
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
    pub admin_password: Option<AdminPassword>,
}

/// The administrator's password. It obeys the rules for the passwords of users. `Debug` does not
/// show it.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(with = "String")]
pub struct AdminPassword(String);

impl AdminPassword {
    /// Returns the password.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for AdminPassword {
    type Error = &'static str;

    fn try_from(password: String) -> Result<Self, Self::Error> {
        // The words of the account are not refused: "admin" is part of many good passwords.
        match password_fault(&password, "", "") {
            Some(fault) => Err(fault),
            None => Ok(Self(password)),
        }
    }
}

impl fmt::Debug for AdminPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminPassword")
    }
}

impl Default for ShopSettings {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        let hours = |hours: u64| seconds(hours * 3_600);
        Self {
            provider: None,
            smtp: None,
            mail_from: Sender::default(),
            dev: false,
            secure_cookies: false,
            rate_limits: true,
            shipping_dispatch_after: seconds(2),
            shipping_deliver_after: seconds(2),
            checkout_resend_after: seconds(10),
            checkout_delayed_after: seconds(10),
            checkout_payment_timeout: hours(24),
            checkout_flash_payment_timeout: seconds(5 * 60),
            checkout_cart_wait: seconds(2),
            inventory_hold_for: seconds(15 * 60),
            inventory_extend_for: hours(25),
            inventory_claims_drain: Duration::from_millis(100),
            catalog_cached_for: seconds(2),
            password_memory_kib: NonZeroU32::new(19 * 1024).expect("not zero"),
            password_passes: NonZeroU32::new(2).expect("not zero"),
            admin_password: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_admins_password_obeys_the_rules_for_passwords() {
        for wrong in [
            "",
            " ",
            "\n",
            "        ",
            "short",
            "password123",
            &"a".repeat(129),
        ] {
            assert!(
                AdminPassword::try_from(wrong.to_owned()).is_err(),
                "{wrong:?}"
            );
        }
        let right = AdminPassword::try_from("s3cret of the admin".to_owned());
        let right = right.expect("it is long enough");
        assert_eq!(right.as_str(), "s3cret of the admin");
        assert!(!format!("{right:?}").contains("s3cret"));
    }
}
