//! Payments: one payment an order, carried out by calls to the payment provider.

pub mod calls;
pub mod config;
pub mod domain;
pub mod handlers;

use shop_contracts::payments::{
    PaymentAuthorized, PaymentCaptureRefused, PaymentCaptured, PaymentDeclined, PaymentRefunded,
    PaymentVoided,
};
use wingbeat::{Parts, Service};

pub use config::Config;

/// What handlers and executors share.
#[derive(Clone, Parts)]
pub struct State {
    /// Where the provider is.
    pub provider: config::ProviderUrl,
}

/// The whole wiring.
#[must_use]
pub fn service(config: &Config) -> Service<State> {
    Service::new("payments")
        .with_state(State {
            provider: config.provider.clone(),
        })
        .on(handlers::authorize)
        .on(handlers::capture)
        .on(handlers::void)
        .on(handlers::refund)
        .on(handlers::answered)
        .target("provider", config.target.clone())
        .calls(calls::ask_provider)
        .publishes::<PaymentAuthorized>()
        .publishes::<PaymentDeclined>()
        .publishes::<PaymentCaptured>()
        .publishes::<PaymentCaptureRefused>()
        .publishes::<PaymentVoided>()
        .publishes::<PaymentRefunded>()
}
