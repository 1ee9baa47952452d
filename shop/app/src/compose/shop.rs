//! The shop's part of a process.

use shop_notifications::Delivery;
use shop_provider::Provider;
use wingbeat::http::session::Sessions;
use wingbeat::run::{Command, Process};

/// The shop.
#[derive(Clone, Copy, Debug)]
pub struct Shop {
    /// Returns its commands besides those of every program.
    pub commands: fn() -> Vec<Command>,
}

impl Default for Shop {
    fn default() -> Self {
        Self { commands: Vec::new }
    }
}

/// A running process of the shop.
pub type Open = Process<Shop>;

/// The state that the services of a process share.
pub struct Shared {
    /// The sessions of signed-in users.
    pub sessions: Sessions,
    /// The stand-in for the payment provider, if it runs here.
    pub provider: Option<Provider>,
    /// The base URL of the payment provider.
    pub provider_url: String,
    /// The delivery of mails.
    pub mails: Delivery,
}
