//! Rows beside the entities.

use serde::{Deserialize, Serialize};
use shop_contracts::{OrderId, Sku};
use wingbeat::{Timestamp, View};

/// A change of what is on hand. Append-only: all of a product's together are what is on hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRow {
    /// The product.
    pub sku: Sku,
    /// How many more, or fewer.
    pub delta: i64,
    /// Why.
    pub reason: String,
    /// For which order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id: Option<OrderId>,
    /// When.
    pub at: Timestamp,
}

impl LedgerRow {
    /// The row's key: each change of a product has its own version.
    #[must_use]
    pub fn key(sku: &Sku, version: u64) -> String {
        format!("{sku}/{version:020}")
    }
}

impl View for LedgerRow {
    const NAME: &'static str = "ledger";
}

/// A reservation that is held, to be found when it expires. The key is the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldRow {
    /// The order.
    pub order_id: OrderId,
    /// Until when.
    pub expires_at: Timestamp,
}

impl HeldRow {
    /// The index column: RFC 3339 with six digits, so that bytes sort as times do.
    pub const EXPIRES_AT: &'static str = "expires_at";
}

impl View for HeldRow {
    const NAME: &'static str = "held";

    fn columns(&self) -> Vec<(&'static str, String)> {
        vec![(Self::EXPIRES_AT, self.expires_at.to_string())]
    }
}
