//! Catalogue: what the shop sells, at which price, and whether it is there.
//!
//! - [`domain`]: a product and what may happen to it, pure. [`handlers`]: what inventory tells.
//! - [`views`]: the listing. [`api`]: the public's routes. [`admin`]: the admin's.
//! - [`seeding`]: what a new shop sells. [`audit`]: what the invariants compare.
//!
//! Two reads are cached: the listing's pages and each product, for [`Config::cached_for`] at most. A
//! change of the product and of its stock forgets both.

pub mod admin;
pub mod api;
pub mod audit;
pub mod config;
pub mod domain;
pub mod handlers;
pub mod seeding;
pub mod views;

pub use config::Config;
use shop_contracts::catalog::{PriceChanged, ProductListed, ProductRetired};
use wingbeat::{Cached, Parts, Service};

/// What handlers and routes may ask for.
#[derive(Clone, Parts)]
pub struct State {
    /// The cached reads.
    pub shelf: Shelf,
}

/// The cached reads.
#[derive(Clone)]
pub struct Shelf {
    /// Single products, by SKU.
    pub products: Cached,
    /// Pages of the listing, by query.
    pub pages: Cached,
}

/// The service.
#[must_use]
pub fn service(config: &Config) -> Service<State> {
    let shelf = Shelf {
        products: Cached::new("catalog:product:", config.cached_for),
        pages: Cached::new("catalog:page:", config.cached_for),
    };
    Service::new("catalog")
        .with_state(State { shelf })
        .on(handlers::stock_level_changed)
        .routes(api::routes())
        .routes(admin::routes())
        .publishes::<ProductListed>()
        .publishes::<PriceChanged>()
        .publishes::<ProductRetired>()
}
