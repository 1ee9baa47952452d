//! The settings of the service.

use std::time::Duration;

use wingbeat::{Parts, TargetPolicy};

use crate::smtp::Smtp;

/// The delivery of mails.
#[derive(Clone, Default)]
pub enum Delivery {
    /// They stay in the mailbox, which `GET /dev/mailbox` shows.
    #[default]
    Mailbox,
    /// A mail server takes them.
    Smtp(Smtp),
}

/// The state that handlers and the call extract.
#[derive(Clone, Parts)]
pub struct State {
    /// The delivery of mails.
    pub delivery: Delivery,
}

/// The settings of notifications.
#[derive(Clone)]
pub struct Config {
    /// The delivery of mails.
    pub delivery: Delivery,
    /// Timeout, retries and breaker of the mail server.
    pub target: TargetPolicy,
    /// The pause between two deletions of old mails.
    pub forget: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            delivery: Delivery::Mailbox,
            forget: Duration::from_secs(60),
            target: TargetPolicy {
                timeout: Duration::from_secs(30),
                concurrency: 8,
                backoff: Duration::from_secs(1),
                // Servers that delay unknown senders expect another attempt after minutes.
                backoff_max: Duration::from_secs(300),
                breaker_open: Duration::from_secs(5),
                ..TargetPolicy::default()
            },
        }
    }
}
