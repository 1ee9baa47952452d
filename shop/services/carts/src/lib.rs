//! Carts: one open cart per user.
//!
//! - [`domain`]: a cart and the changes it allows; pure.
//! - `handlers`: the events of other services. [`products`]: the copy of the catalogue.
//! - [`api`]: the customer's routes. [`audit`]: reads for the invariants.

pub mod api;
pub mod audit;
pub mod domain;
mod handlers;
pub mod products;

use wingbeat::http::session::Sessions;
use wingbeat::{Parts, Service, Stored};

/// The state that routes extract.
#[derive(Clone, Parts)]
pub struct State {
    /// The sessions, which carry the version of the cart that the caller has seen.
    pub sessions: Sessions,
}

/// Builds the service.
#[must_use]
pub fn service(sessions: Sessions) -> Service<State> {
    Service::new("carts")
        .with_state(State { sessions })
        .on(handlers::user_registered)
        .on(handlers::product_listed)
        .on(handlers::product_retired)
        .on(handlers::order_placed)
        .on(handlers::user_erased)
        .routes(api::routes())
        .stores(Stored::entity::<domain::Cart>())
        .stores(Stored::entity::<products::Product>())
}
