//! Promotions: promo codes that a user can redeem once. Each new user gets one.
//!
//! - [`domain`]: codes, promos and bookings; pure.
//! - `handlers`: load, decide, record.
//! - [`views`], [`api`]: the promos of a user. [`audit`]: reads for the invariants.

pub mod api;
pub mod audit;
pub mod config;
pub mod domain;
mod handlers;
pub mod views;

pub use config::Config;
use wingbeat::{Parts, Service, Stored};

/// The state that handlers extract.
#[derive(Clone, Debug, Parts)]
pub struct State {
    /// The settings.
    pub config: Config,
}

/// Builds the service.
#[must_use]
pub fn service(config: &Config) -> Service<State> {
    Service::new("promotions")
        .with_state(State {
            config: config.clone(),
        })
        .on(handlers::welcome)
        .on(handlers::reserve_promo)
        .on(handlers::release_promo)
        .on(handlers::redeem_promo)
        .routes(api::routes())
        .stores(Stored::entity::<domain::Promo>())
        .stores(Stored::view::<views::PromoRow>())
        .stores(Stored::entity::<domain::Booking>())
}
