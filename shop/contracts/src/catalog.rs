//! What the catalogue tells.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wingbeat::Event;

use crate::{Money, Sku};

/// A product is for sale, or its name, description or price changed: all that copies need, so that the
/// newest is enough.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "catalog.product_listed", version = 1, key = sku)]
pub struct ProductListed {
    /// The product.
    pub sku: Sku,
    /// What it is called.
    pub name: String,
    /// What it costs.
    pub price: Money,
    /// The product's version.
    pub version: u64,
}

/// A product's price changed; a listing with the same version tells the rest.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "catalog.price_changed", version = 1, key = sku)]
pub struct PriceChanged {
    /// The product.
    pub sku: Sku,
    /// What it costs now.
    pub price: Money,
    /// The product's version.
    pub version: u64,
}

/// A product is not sold any more.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "catalog.product_retired", version = 1, key = sku)]
pub struct ProductRetired {
    /// The product.
    pub sku: Sku,
    /// The product's version.
    pub version: u64,
}
