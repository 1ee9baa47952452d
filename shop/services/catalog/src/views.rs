//! The listing.

use serde::{Deserialize, Serialize};
use shop_contracts::Money;
use wingbeat::{JsonSchema, View, schemars};

use crate::domain::Product;

/// A product as it is listed. The key is the SKU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Product")]
pub struct ProductRow {
    /// The SKU.
    pub sku: String,
    /// What it is called.
    pub name: String,
    /// What it is.
    pub description: String,
    /// What it costs.
    pub price: Money,
    /// How many can be sold.
    pub available: i64,
}

/// The index column of [`ProductRow`]: the name in lower case.
pub const NAME: &str = "name";

impl ProductRow {
    /// The row of a product; `None` when it is not sold.
    #[must_use]
    pub fn of(sku: &str, product: &Product) -> Option<Self> {
        let listing = product.sold()?;
        Some(Self {
            sku: sku.into(),
            name: listing.name.clone(),
            description: listing.description.clone(),
            price: listing.price,
            available: product.available,
        })
    }
}

impl View for ProductRow {
    const NAME: &'static str = "products";

    fn columns(&self) -> Vec<(&'static str, String)> {
        vec![(NAME, self.name.to_lowercase())]
    }
}
