//! Lines of orders and carts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Money, Sku};

/// The largest quantity of a line.
pub const QUANTITY_MAX: u32 = 99;

/// A product in an order, as it was named and priced then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Line {
    /// Which.
    pub sku: Sku,
    /// What it is called.
    pub name: String,
    /// How many: 1 to [`QUANTITY_MAX`].
    #[schemars(range(min = 1, max = QUANTITY_MAX))]
    pub quantity: u32,
    /// What one costs.
    pub price: Money,
}

/// SKUs and quantities.
pub type Lines = Vec<(Sku, u32)>;
