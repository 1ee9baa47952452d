//! Carts: one open cart a user.
//!
//! - [`domain`]: what may happen to a cart, pure. [`handlers`]: what others tell.
//! - [`products`]: names and prices, as the catalogue last told. [`api`]: the customer's routes.
//! - [`audit`]: what the invariants compare.

pub mod api;
pub mod audit;
pub mod domain;
pub mod handlers;
pub mod products;

use wingbeat::http::session::Sessions;
use wingbeat::{Parts, Service};

/// What routes may ask for.
#[derive(Clone, Parts)]
pub struct State {
    /// Where a session learns which cart it was shown.
    pub sessions: Sessions,
}

/// The service.
#[must_use]
pub fn service(sessions: Sessions) -> Service<State> {
    Service::new("carts")
        .with_state(State { sessions })
        .on(handlers::user_registered)
        .on(handlers::product_listed)
        .on(handlers::product_retired)
        .on(handlers::order_placed)
        .routes(api::routes())
}
