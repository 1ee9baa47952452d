//! The ledger, and the held reservations by expiry.

use serde::{Deserialize, Serialize};
use shop_contracts::{OrderId, Sku};
use wingbeat::{JsonSchema, Timestamp, View, schemars};

/// A change of the units on hand. The rows of a product add up to its units on hand. Rows are only
/// added, until old ones are replaced by one with their sum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LedgerRow {
    /// The product.
    pub sku: Sku,
    /// The units added; negative if removed.
    pub delta: i64,
    /// The reason.
    pub reason: String,
    /// The order, if one caused the change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id: Option<OrderId>,
    /// The time of the change.
    pub at: Timestamp,
}

impl LedgerRow {
    /// Returns the key of a row. Each change of a product's stock has its own version.
    #[must_use]
    pub fn key(sku: &Sku, version: u64) -> String {
        format!("{sku}/{version:020}")
    }
}

impl View for LedgerRow {
    const NAME: &'static str = "ledger";
}

/// A held reservation, indexed by its expiry. The key is the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeldRow {
    /// The order.
    pub order_id: OrderId,
    /// The time at which the reservation expires.
    pub expires_at: Timestamp,
}

impl HeldRow {
    /// The index column: RFC 3339 with six fractional digits, so that bytes sort like times.
    pub const EXPIRES_AT: &'static str = "expires_at";
}

impl View for HeldRow {
    const NAME: &'static str = "held";

    fn columns(&self) -> Vec<(&'static str, String)> {
        vec![(Self::EXPIRES_AT, self.expires_at.to_string())]
    }
}
