//! Notifications: one mail per cause and template, sent once the address is known.
//!
//! - [`domain`]: the templates and the contacts; pure.
//! - `handlers`: from events to mails. [`mailer`]: the sending of a mail, once.
//! - `forgetting`: the deletion of old mails.
//! - [`mailbox`](mod@mailbox): the stand-in for a mail server. [`calls`], [`smtp`]: a real one.
//! - [`audit`]: reads for the invariants.

pub mod audit;
pub mod calls;
pub mod domain;
mod forgetting;
mod handlers;
pub mod mailbox;
pub mod mailer;
pub mod smtp;

mod config;

pub use config::{Config, Delivery, State};
pub use mailbox::mailbox;
use wingbeat::{Handler as _, Service, Stored};

/// Builds the service.
#[must_use]
pub fn service(config: &Config) -> Service<State> {
    Service::new("notifications")
        .with_state(State {
            delivery: config.delivery.clone(),
        })
        .on(handlers::remember_address.personal())
        .on(handlers::user_registered)
        .on(handlers::promo_issued)
        .on(handlers::order_paid)
        .on(handlers::order_rejected)
        .on(handlers::order_shipped)
        .on(handlers::order_cancelled)
        .on(handlers::user_erased)
        .on(handlers::scrub_mailbox)
        .poll("forget_mails", config.forget, forgetting::forget_mails)
        .target("smtp", config.target.clone())
        .calls(calls::send_mail)
        .stores(Stored::call::<calls::SendMail>())
        .stores(Stored::entity::<domain::Contact>())
        .stores(Stored::entity::<mailer::Sent>())
        .stores(Stored::view::<mailbox::MailRow>())
}
