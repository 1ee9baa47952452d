//! Orders: the event-sourced order, the checkout saga, and the caller's view of both.

pub mod api;
pub mod checkout;
pub mod config;
pub mod domain;
pub mod feed;
pub mod followed;
pub mod handlers;
pub mod messages;
pub mod placing;
pub mod stream;
pub mod views;

use shop_contracts::orders::{
    OrderCancelled, OrderCompleted, OrderPaid, OrderPaymentDelayed, OrderPlaced, OrderRejected,
    OrderShipped,
};
use wingbeat::http::session::Sessions;
use wingbeat::{Parts, Service};

pub use config::Config;
use followed::Followed;

/// What handlers and routes share.
#[derive(Clone, Parts)]
pub struct State {
    /// The service's settings.
    pub config: Config,
    /// Who is signed in, for streams.
    pub sessions: Sessions,
    /// Who follows their orders here.
    pub followed: Followed,
}

/// The whole wiring.
#[must_use]
pub fn service(config: &Config, sessions: Sessions) -> Service<State> {
    Service::new("orders")
        .with_state(State {
            config: config.clone(),
            sessions,
            followed: Followed::default(),
        })
        .saga::<checkout::Checkout>()
        .on(handlers::product_listed)
        .on(handlers::product_retired)
        .on(handlers::cart_changed)
        .on(handlers::promo_issued)
        .routes(api::routes())
        .publishes::<OrderPlaced>()
        .publishes::<OrderPaymentDelayed>()
        .publishes::<OrderPaid>()
        .publishes::<OrderShipped>()
        .publishes::<OrderCompleted>()
        .publishes::<OrderRejected>()
        .publishes::<OrderCancelled>()
}
