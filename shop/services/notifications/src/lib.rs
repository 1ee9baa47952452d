//! Notifications: one mail a cause and template, once the address is known.
//!
//! - [`domain`]: templates, and what is known of a person; pure.
//! - [`handlers`]: what happened, and whom to tell. [`post`]: how a mail is sent once.
//! - [`mailbox`](mod@mailbox): the stand-in for a mail server. [`audit`]: what the invariants compare.

pub mod audit;
pub mod domain;
pub mod handlers;
pub mod mailbox;
pub mod post;

mod config;

pub use config::Config;
pub use mailbox::mailbox;
use shop_contracts::notifications::EmailFailed;
use wingbeat::Service;

/// The service.
#[must_use]
pub fn service(_config: &Config) -> Service {
    Service::new("notifications")
        .on(handlers::remember_address)
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
