//! The commands to inventory and its events.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wingbeat::{Command, Event};

use crate::{Lines, OrderId, Sku, bounds};

/// Reserve all lines of an order, or none.
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "inventory.reserve_stock", version = 1, key = order_id)]
pub struct ReserveStock {
    /// The order.
    pub order_id: OrderId,
    /// The products and quantities.
    #[serde(deserialize_with = "bounds::lines")]
    pub lines: Lines,
}

/// Release the reservation of an order. If there is none yet, a later reservation is rejected.
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "inventory.release_stock", version = 1, key = order_id)]
pub struct ReleaseStock {
    /// The order.
    pub order_id: OrderId,
}

/// Remove the reserved units of an order from the stock.
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "inventory.commit_stock", version = 1, key = order_id)]
pub struct CommitStock {
    /// The order.
    pub order_id: OrderId,
}

/// Return the removed units of an order to the stock.
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "inventory.restock_order", version = 1, key = order_id)]
pub struct RestockOrder {
    /// The order.
    pub order_id: OrderId,
}

/// Extend the reservation of an order.
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "inventory.extend_reservation", version = 1, key = order_id)]
pub struct ExtendReservation {
    /// The order.
    pub order_id: OrderId,
}

/// Adjust the stock of a product.
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "inventory.adjust_stock", version = 1, key = sku)]
pub struct AdjustStock {
    /// The product.
    pub sku: Sku,
    /// The units to add; negative to remove units.
    pub delta: i64,
    /// The reason.
    pub reason: String,
    /// The id of the adjustment, which is applied once.
    pub adjustment_id: uuid::Uuid,
}

/// All lines of an order are reserved.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "inventory.stock_reserved", version = 1, key = order_id)]
pub struct StockReserved {
    /// The order.
    pub order_id: OrderId,
}

/// No line of an order is reserved, because a product is out of stock.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "inventory.stock_rejected", version = 1, key = order_id)]
pub struct StockRejected {
    /// The order.
    pub order_id: OrderId,
    /// The product that is out of stock.
    pub sku: Sku,
}

/// The reserved units of an order were removed from the stock.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "inventory.stock_committed", version = 1, key = order_id)]
pub struct StockCommitted {
    /// The order.
    pub order_id: OrderId,
}

/// The units of an order are no longer reserved, so they were not removed from the stock.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "inventory.stock_commit_refused", version = 1, key = order_id)]
pub struct StockCommitRefused {
    /// The order.
    pub order_id: OrderId,
}

/// The units of an order are available again.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "inventory.stock_released", version = 1, key = order_id)]
pub struct StockReleased {
    /// The order.
    pub order_id: OrderId,
}

/// The number of units that can be sold changed.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "inventory.stock_level_changed", version = 1, key = sku)]
pub struct StockLevelChanged {
    /// The product.
    pub sku: Sku,
    /// The number of units that can be sold.
    pub available: i64,
    /// The stock's version.
    pub version: u64,
}
