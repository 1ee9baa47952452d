//! What inventory is asked and tells.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wingbeat::{Command, Event};

use crate::{Lines, OrderId, Sku};

/// Hold all lines, or none.
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "inventory.reserve_stock", version = 1, key = order_id)]
pub struct ReserveStock {
    /// The order.
    pub order_id: OrderId,
    /// What.
    pub lines: Lines,
}

/// Give what is held free, also if nothing was held: a later reservation is refused.
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "inventory.release_stock", version = 1, key = order_id)]
pub struct ReleaseStock {
    /// The order.
    pub order_id: OrderId,
}

/// Take what is held out of stock.
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "inventory.commit_stock", version = 1, key = order_id)]
pub struct CommitStock {
    /// The order.
    pub order_id: OrderId,
}

/// Put back what was taken.
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "inventory.restock_order", version = 1, key = order_id)]
pub struct RestockOrder {
    /// The order.
    pub order_id: OrderId,
}

/// Hold for longer.
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "inventory.extend_reservation", version = 1, key = order_id)]
pub struct ExtendReservation {
    /// The order.
    pub order_id: OrderId,
}

/// Add to the stock, or take away.
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "inventory.adjust_stock", version = 1, key = sku)]
pub struct AdjustStock {
    /// The product.
    pub sku: Sku,
    /// How many more, or fewer.
    pub delta: i64,
    /// Why.
    pub reason: String,
    /// Applied once.
    pub adjustment_id: uuid::Uuid,
}

/// All lines are held.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "inventory.stock_reserved", version = 1, key = order_id)]
pub struct StockReserved {
    /// The order.
    pub order_id: OrderId,
}

/// Nothing is held: there is not enough.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "inventory.stock_rejected", version = 1, key = order_id)]
pub struct StockRejected {
    /// The order.
    pub order_id: OrderId,
    /// Of this.
    pub sku: Sku,
}

/// What was held is taken.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "inventory.stock_committed", version = 1, key = order_id)]
pub struct StockCommitted {
    /// The order.
    pub order_id: OrderId,
}

/// What was held is held no more.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "inventory.stock_commit_refused", version = 1, key = order_id)]
pub struct StockCommitRefused {
    /// The order.
    pub order_id: OrderId,
}

/// What was held or taken is back.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "inventory.stock_released", version = 1, key = order_id)]
pub struct StockReleased {
    /// The order.
    pub order_id: OrderId,
}

/// How many can be sold.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "inventory.stock_level_changed", version = 1, key = sku)]
pub struct StockLevelChanged {
    /// The product.
    pub sku: Sku,
    /// How many.
    pub available: i64,
    /// The stock's version.
    pub version: u64,
}
