//! Lines of orders and carts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bounds::{self, QUANTITY_MAX};
use crate::{Money, Sku};

/// A line of an order or a cart. The line of an order keeps the name and the price of the time of
/// the order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Line {
    /// The product.
    pub sku: Sku,
    /// The name of the product.
    #[serde(deserialize_with = "bounds::name")]
    pub name: String,
    /// The quantity, 1 to [`QUANTITY_MAX`].
    #[serde(deserialize_with = "bounds::quantity")]
    #[schemars(range(min = 1, max = QUANTITY_MAX))]
    pub quantity: u32,
    /// The price of one unit.
    pub price: Money,
}

/// Products and quantities.
pub type Lines = Vec<(Sku, u32)>;
