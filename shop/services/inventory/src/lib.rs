//! Inventory: the stock, the reservations of orders, and a ledger of every change.
//!
//! - [`domain`]: stock and reservations; pure.
//! - `handlers`: load, decide, record. `shelves`: the stock and its ledger, which change in one
//!   unit.
//! - [`views`]: the ledger, and the held reservations by expiry.
//! - [`api`]: the admin's routes. [`audit`]: figures for the invariants.

pub mod api;
pub mod audit;
pub mod config;
pub mod domain;
mod handlers;
#[cfg(feature = "sabotage")]
mod sabotage;
mod shelves;
pub mod views;

pub use config::Config;
use wingbeat::{Parts, Service};

/// The state that handlers extract.
#[derive(Clone, Debug, Parts)]
pub struct State {
    /// The settings.
    pub config: Config,
}

/// Builds the service.
#[must_use]
pub fn service(config: &Config) -> Service<State> {
    #[cfg(feature = "sabotage")]
    use sabotage as handlers;

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
