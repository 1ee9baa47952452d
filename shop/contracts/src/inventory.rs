//! The commands to inventory and its events.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wingbeat::{Command, Event, Timestamp};

use crate::{ClaimId, ClaimKey, Lines, OrderId, Price, SaleId, Sku, UserId, bounds};

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

/// Bind a confirmed claim on a flash sale to an order. There is no reply: the order's stock is
/// reserved already.
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "inventory.use_flash_claim", version = 1, key = order_id)]
pub struct UseFlashClaim {
    /// The order.
    pub order_id: OrderId,
    /// The claim.
    pub claim_id: ClaimId,
}

/// Take the unit of a claim out for its order. The reply is that to [`CommitStock`].
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "inventory.commit_flash_claim", version = 1, key = order_id)]
pub struct CommitFlashClaim {
    /// The order.
    pub order_id: OrderId,
    /// The claim.
    pub claim_id: ClaimId,
}

/// Return the unit of a claim to its sale, or to the stock if the sale has ended. The reply is that
/// to [`ReleaseStock`].
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "inventory.return_flash_claim", version = 1, key = order_id)]
pub struct ReturnFlashClaim {
    /// The order.
    pub order_id: OrderId,
    /// The claim.
    pub claim_id: ClaimId,
}

/// A flash sale was created. Its units are no longer part of the general stock.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "inventory.flash_sale_created", version = 1, key = sale_id)]
pub struct FlashSaleCreated {
    /// The sale.
    pub sale_id: SaleId,
    /// The product.
    pub sku: Sku,
    /// The price of one unit.
    pub price: Price,
    /// The number of units.
    pub allocation: u32,
    /// The most units of one user.
    pub per_user: u32,
    /// The start of the sale.
    pub opens_at: Timestamp,
    /// The end of the sale.
    pub closes_at: Timestamp,
    /// The seconds after which a claim that was not confirmed, or a confirmed one that was not
    /// ordered, expires.
    pub claim_ttl_s: u32,
    /// The key that signs the claims of the sale. It distinguishes a lost claim from an invented
    /// one.
    pub claim_key: ClaimKey,
}

/// A claim on a flash sale was confirmed: its user has a unit until the claim expires.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "inventory.flash_claim_confirmed", version = 1, key = claim_id)]
pub struct FlashClaimConfirmed {
    /// The claim.
    pub claim_id: ClaimId,
    /// The sale.
    pub sale_id: SaleId,
    /// The user.
    pub user_id: UserId,
    /// The product.
    pub sku: Sku,
    /// The price of the unit.
    pub price: Price,
    /// The time until which the claim can be ordered.
    pub expires_at: Timestamp,
}

/// A claim on a flash sale has no unit: it was not ordered in time, or not confirmed.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "inventory.flash_claim_expired", version = 1, key = claim_id)]
pub struct FlashClaimExpired {
    /// The claim.
    pub claim_id: ClaimId,
    /// The sale.
    pub sale_id: SaleId,
    /// The user.
    pub user_id: UserId,
}
