//! Notifications: one mail per cause and template, sent once the address is known.
//!
//! - [`domain`]: the templates and the contacts; pure.
//! - `handlers`: from events to mails. [`mailer`]: the sending of a mail, once.
//! - [`mailbox`](mod@mailbox): the stand-in for a mail server. [`audit`]: reads for the invariants.

pub mod audit;
pub mod domain;
mod handlers;
pub mod mailbox;
pub mod mailer;

mod config;

pub use config::Config;
pub use mailbox::mailbox;
use shop_contracts::notifications::EmailFailed;
use wingbeat::{Handler as _, Service};

/// Builds the service.
#[must_use]
pub fn service(_config: &Config) -> Service {
    Service::new("notifications")
        .on(handlers::remember_address.personal())
        .on(handlers::user_registered)
        .on(handlers::promo_issued)
        .on(handlers::order_paid)
        .on(handlers::order_rejected)
        .on(handlers::order_shipped)
        .on(handlers::order_cancelled)
        .on(handlers::user_erased)
        .on(handlers::scrub_mailbox)
        .publishes::<EmailFailed>() // Of mail servers; the mailbox never refuses a mail.
}
