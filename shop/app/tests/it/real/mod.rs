//! The real shop in this process: real sockets, a data directory of its own, and where it is compiled as
//! `real_on_servers` also RabbitMQ, PostgreSQL and Redis.
//!
//! What asks over HTTP only (`admin`, `http`, `sessions`, `stream`) runs a third time from outside, against services by
//! themselves behind the gateway: see `shop/e2e/tests/it/over_http.rs`.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test of the real thing lives by the real clock, and ends where something is missing"
)]

mod admin;
mod asking;
mod audit;
mod corrupt;
mod documented;
mod http;
mod letters;
mod place;
mod raw;
mod sessions;
mod stream;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use shop::settings::{Settings, Sources};
use shop::{Open, start};

pub(crate) use asking::{SOON, address, order};
use place::Place;
pub(crate) use raw::Reply;

/// A shop, and where it keeps its data.
pub(crate) struct Shop {
    pub(crate) open: Open,
    place: Place,
}

/// Settings for a shop of a test: free ports, quick parcels.
fn settings(place: &Place) -> Settings {
    let mut flags = BTreeMap::from([
        ("listen", "127.0.0.1:0".to_owned()),
        ("ops_listen", "127.0.0.1:0".to_owned()),
        ("data", place.data.display().to_string()),
        ("shipping_dispatch_after", "50ms".to_owned()),
        ("shipping_deliver_after", "50ms".to_owned()),
    ]);
    flags.extend(place.servers.iter().cloned());
    let sources = Sources {
        flags,
        env: BTreeMap::new(),
        file: None,
    };
    sources.settings().expect("they are right")
}

impl Shop {
    pub(crate) async fn open() -> Self {
        let place = tokio::task::block_in_place(Place::new);
        let open = start(&settings(&place)).await.expect("it opens");
        Self { open, place }
    }

    /// Closes the shop and opens it again on the same data.
    pub(crate) async fn again(self) -> Self {
        let Self { open, place } = self;
        open.close().await;
        // The last tasks let go of the store a moment after they were told to.
        for _ in 0..200 {
            if let Ok(open) = start(&settings(&place)).await {
                return Self { open, place };
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("the data stays in use");
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.open.address
    }

    fn admin_password(&self) -> String {
        let password = std::fs::read_to_string(self.place.data.join("admin-password"));
        password.expect("it is there").trim().to_owned()
    }

    /// Whether its Redis has the key; `None` without a Redis.
    pub(crate) fn has_key(&self, key: &str) -> Option<bool> {
        self.place.has_key(key)
    }
}
