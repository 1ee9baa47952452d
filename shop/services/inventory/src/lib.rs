//! Inventory: what is there, what is held for whom, and a ledger of every change.
//!
//! - [`domain`]: stock and reservations, pure.
//! - [`handlers`]: load, decide, record. [`shelves`]: stock and its ledger, changed together.
//! - [`views`]: the ledger, and the reservations that are held, by expiry.
//! - [`api`]: the admin's hand on the stock. [`audit`]: what the invariants compare.

pub mod api;
pub mod audit;
pub mod config;
pub mod domain;
pub mod handlers;
pub mod shelves;
pub mod views;

pub use config::Config;
use wingbeat::{Parts, Service};

/// What handlers may ask for.
#[derive(Clone, Debug, Parts)]
pub struct State {
    /// The settings.
    pub config: Config,
}

/// The service.
#[must_use]
pub fn service(config: &Config) -> Service<State> {
    Service::new("inventory")
        .with_state(State {
            config: config.clone(),
        })
        .on(handlers::reserve_stock)
        .on(handlers::release_stock)
        .on(handlers::commit_stock)
        .on(handlers::restock_order)
        .on(handlers::extend_reservation)
        .on(handlers::adjust_stock)
        .on(handlers::expire_reservation)
        .every(
            "expire_reservations",
            config.expiry_scan,
            handlers::find_expired,
        )
        .routes(api::routes())
}
