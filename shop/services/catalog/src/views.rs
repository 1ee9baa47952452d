//! The listing, and the stored form of a product.

use serde::{Deserialize, Serialize};
use shop_contracts::{Money, Sku};
use wingbeat::{Entity, JsonSchema, View, schemars};
use wingbeat::{ViewColumns, ViewRow};

use crate::domain::Product;

/// A row of the listing. The key is the SKU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Product", description = "A product that is for sale.")]
pub struct ProductRow {
    /// The SKU.
    pub sku: String,
    /// The name.
    pub name: String,
    /// The description.
    pub description: String,
    /// The price of one unit.
    pub price: Money,
    /// The number of units that can be sold.
    pub available: i64,
}

/// The index column of [`ProductRow`]: the name in lower case.
pub const NAME: &str = "name";

impl ProductRow {
    /// Returns the row of a product; `None` if it is not for sale.
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

/// Each change of a product rewrites its row of the listing.
impl Entity for Product {
    const NAME: &'static str = "product";
    type Id = Sku;
    const VIEWS: &'static [ViewColumns] = &[ViewColumns::of::<ProductRow>(&[NAME])];

    fn rows(&self, id: &str) -> Vec<ViewRow> {
        let row = ProductRow::of(id, self);
        row.iter().map(|row| ViewRow::of(id, row)).collect()
    }
}
