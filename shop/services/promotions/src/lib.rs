//! Promotions: codes that a user may use once. Everybody who signs up gets one.
//!
//! - [`domain`]: codes, and what orders do with them; pure.
//! - [`handlers`]: load, decide, record.
//! - [`views`], [`api`]: a user's codes. [`audit`]: what the invariants compare.

pub mod api;
pub mod audit;
pub mod config;
pub mod domain;
pub mod handlers;
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
    Service::new("promotions")
        .with_state(State {
            config: config.clone(),
        })
        .on(handlers::welcome)
        .on(handlers::reserve_promo)
        .on(handlers::release_promo)
        .on(handlers::redeem_promo)
        .routes(api::routes())
}
