//! Shipping: one shipment per order. It is created, dispatched and delivered, or cancelled before
//! the dispatch.
//!
//! - [`domain`]: the status of a shipment; pure. [`shipment`]: the saga, which sets the timers.
//! - `handlers`: the entry to the saga. [`audit`]: reads for the invariants.

pub mod audit;
pub mod config;
pub mod domain;
mod handlers;
pub mod shipment;

pub use config::Config;
use shop_contracts::shipping::{
    ShipmentCancelRefused, ShipmentCancelled, ShipmentCreated, ShipmentDelivered,
    ShipmentDispatched,
};
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
    Service::new("shipping")
        .with_state(State {
            config: config.clone(),
        })
        .on(handlers::create_shipment)
        .saga::<shipment::Shipment>()
        .stores(Stored::saga::<shipment::Shipment>())
        .publishes::<ShipmentCreated>()
        .publishes::<ShipmentDispatched>()
        .publishes::<ShipmentDelivered>()
        .publishes::<ShipmentCancelled>()
        .publishes::<ShipmentCancelRefused>()
}
