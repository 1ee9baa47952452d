//! Shipping: one shipment an order, created, dispatched, delivered; or cancelled before dispatch.
//!
//! - [`domain`]: what may follow what; pure. [`shipment`]: the saga that keeps the times.
//! - [`handlers`]: the way in. [`audit`]: what the invariants compare.

pub mod audit;
pub mod config;
pub mod domain;
pub mod handlers;
pub mod shipment;

pub use config::Config;
use shop_contracts::shipping::{
    ShipmentCancelRefused, ShipmentCancelled, ShipmentCreated, ShipmentDelivered,
    ShipmentDispatched,
};
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
    Service::new("shipping")
        .with_state(State {
            config: config.clone(),
        })
        .on(handlers::create_shipment)
        .saga::<shipment::Shipment>()
        .publishes::<ShipmentCreated>()
        .publishes::<ShipmentDispatched>()
        .publishes::<ShipmentDelivered>()
        .publishes::<ShipmentCancelled>()
        .publishes::<ShipmentCancelRefused>()
}
