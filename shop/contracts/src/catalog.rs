//! The events of the catalogue.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wingbeat::Event;

use crate::{Price, Sku, bounds};

/// A product was listed, or its name, description or price changed. The event contains all that
/// copies need, so that the newest one is enough.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "catalog.product_listed", version = 1, key = sku)]
pub struct ProductListed {
    /// The product.
    pub sku: Sku,
    /// The name.
    #[serde(deserialize_with = "bounds::name")]
    #[schemars(length(max = bounds::NAME_MAX))]
    pub name: String,
    /// The price of one unit.
    pub price: Price,
    /// The product's version.
    pub version: u64,
}

/// The price of a product changed. A `ProductListed` with the same version contains the rest.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "catalog.price_changed", version = 1, key = sku)]
pub struct PriceChanged {
    /// The product.
    pub sku: Sku,
    /// The new price of one unit.
    pub price: Price,
    /// The product's version.
    pub version: u64,
}

/// A product was retired and is no longer sold.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "catalog.product_retired", version = 1, key = sku)]
pub struct ProductRetired {
    /// The product.
    pub sku: Sku,
    /// The product's version.
    pub version: u64,
}
