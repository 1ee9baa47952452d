//! The catalogue: the products of the shop, their prices and their availability.
//!
//! - [`domain`]: a product and the changes it allows; pure.
//! - [`views`]: the listing, and the stored form of a product.
//! - `handlers`: the messages of inventory. [`api`]: the public routes. `admin`: the admin's
//!   routes.
//! - [`seeding`]: the products of a new shop. [`audit`]: reads for the invariants.
//!
//! Two reads are cached for at most [`Config::cached_for`]: the pages of the listing, and each
//! product. A change of a product or of its stock invalidates both.

mod admin;
pub mod api;
pub mod audit;
pub mod config;
pub mod domain;
mod handlers;
pub mod seeding;
pub mod views;

pub use config::Config;
use shop_contracts::catalog::{PriceChanged, ProductListed, ProductRetired};
use shop_contracts::inventory::AdjustStock;
use wingbeat::{Cached, Parts, Service, Stored};

/// The state that handlers and routes extract.
#[derive(Clone, Parts)]
pub struct State {
    /// The cached reads.
    pub cache: ReadCache,
}

/// The cached reads.
#[derive(Clone)]
pub struct ReadCache {
    /// Products, by SKU.
    pub products: Cached,
    /// Pages of the listing, by query.
    pub pages: Cached,
}

/// Builds the service.
#[must_use]
pub fn service(config: &Config) -> Service<State> {
    let cache = ReadCache {
        products: Cached::new("catalog:product:", config.cached_for),
        pages: Cached::new("catalog:page:", config.cached_for),
    };
    Service::new("catalog")
        .with_state(State { cache })
        .on(handlers::stock_level_changed)
        .routes(api::routes())
        .routes(admin::routes())
        .stores(Stored::entity::<domain::Product>())
        .stores(Stored::view::<views::ProductRow>())
        .publishes::<ProductListed>()
        .publishes::<PriceChanged>()
        .publishes::<ProductRetired>()
        .sends::<AdjustStock>() // The opening stock of a new shop.
}
