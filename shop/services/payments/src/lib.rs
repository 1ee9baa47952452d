//! Payments: one payment per order, carried out by calls to the payment provider.
//!
//! - [`domain`]: a payment and the changes it allows; pure.
//! - `handlers`: load, decide, record. [`calls`]: the call to the provider.

pub mod calls;
pub mod config;
pub mod domain;
mod handlers;
#[cfg(feature = "sabotage")]
mod sabotage;

use shop_contracts::payments::{
    PaymentAuthorized, PaymentCaptureRefused, PaymentCaptured, PaymentDeclined, PaymentRefunded,
    PaymentVoided,
};
use wingbeat::{Parts, Service, Stored};

pub use config::Config;

/// The state that handlers and calls extract.
#[derive(Clone, Parts)]
pub struct State {
    /// The provider's base URL.
    pub provider: config::ProviderUrl,
}

/// Builds the service.
#[must_use]
pub fn service(config: &Config) -> Service<State> {
    #[cfg(feature = "sabotage")]
    use sabotage as handlers;

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
        .stores(Stored::entity::<domain::Payment>())
        .stores(Stored::call::<calls::AskProvider>())
        .publishes::<PaymentAuthorized>()
        .publishes::<PaymentDeclined>()
        .publishes::<PaymentCaptured>()
        .publishes::<PaymentCaptureRefused>()
        .publishes::<PaymentVoided>()
        .publishes::<PaymentRefunded>()
}
