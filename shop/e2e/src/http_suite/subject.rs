//! A shop that a test of the suite gets.

use std::net::SocketAddr;
use std::ops::Deref;
use std::pin::Pin;

use super::Api;

/// The way in which tests share a shop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It uses accounts and orders of its own.
    Shared,
    /// It restarts the shop, or changes or counts what all users share.
    Exclusive,
}

/// The process or processes of a shop.
pub trait Host: Send {
    /// Ends the shop, starts it again on the same data, and returns its address.
    fn restart(&mut self) -> Pin<Box<dyn Future<Output = SocketAddr> + '_>>;
}

/// A shop that a test of the suite gets. It dereferences to its API.
pub struct Subject {
    /// Its API.
    pub api: Api,
    /// Its processes.
    pub host: Box<dyn Host>,
}

impl Subject {
    /// Ends the shop and starts it again on the same data.
    pub async fn restart(&mut self) {
        self.api.address = self.host.restart().await;
    }
}

impl Deref for Subject {
    type Target = Api;

    fn deref(&self) -> &Api {
        &self.api
    }
}
