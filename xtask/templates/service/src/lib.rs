//! Samples: the ratings of orders.
//!
//! - [`domain`]: a rating and its rules; pure.
//! - `handlers`: load, decide, record.
//! - [`views`], [`api`]: the ratings of a user.

pub mod api;
pub mod config;
pub mod contracts;
pub mod domain;
mod handlers;
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
    Service::new("samples")
        .with_state(State {
            config: config.clone(),
        })
        .on(handlers::rate_order)
        .routes(api::routes())
}
