//! The order list, and this service's own copies of what others own.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use shop_contracts::{Line, Money, OrderStatus, RejectReason, Sku, UserId};
use wingbeat::{Entity, Timestamp, View};

/// An order as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderRow {
    /// The order.
    pub order_id: String,
    /// Its owner.
    pub user_id: UserId,
    /// Where it stands.
    pub status: OrderStatus,
    /// Why, when rejected.
    pub reason: Option<RejectReason>,
    /// The payment has been unanswered for long.
    pub payment_delayed: bool,
    /// What was ordered.
    pub lines: Vec<Line>,
    /// The sum of the lines.
    pub subtotal: Money,
    /// What the promo takes off.
    pub discount: Money,
    /// What is to be paid.
    pub total: Money,
    /// When it was accepted.
    pub placed_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// The index column of [`OrderRow`]: owner, then order, which is in order of time.
pub const BY_USER: &str = "by_user";

impl View for OrderRow {
    const NAME: &'static str = "orders";

    fn columns(&self) -> Vec<(&'static str, String)> {
        vec![(BY_USER, format!("{}|{}", self.user_id, self.order_id))]
    }
}

/// A product's name and price, as the catalogue last told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProductCopy {
    /// What it is called.
    pub name: String,
    /// What it costs.
    pub price: Money,
    /// It is not sold any more.
    pub retired: bool,
    /// The catalogue's version; older news is ignored.
    pub version: u64,
}

impl Entity for ProductCopy {
    const NAME: &'static str = "product_copy";
    type Id = Sku;
}

/// A user's cart, as carts last told.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct CartCopy {
    /// SKU and quantity.
    pub lines: Vec<(Sku, u32)>,
    /// The cart's version; older news is ignored.
    pub version: u64,
}

impl Entity for CartCopy {
    const NAME: &'static str = "cart_copy";
    type Id = UserId;
}

/// A promo code, as promotions issued it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PromoCopy {
    /// Who may use it.
    pub user_id: UserId,
    /// How much it takes off.
    pub percent: u8,
    /// Until when.
    pub expires_at: Timestamp,
}

impl Entity for PromoCopy {
    const NAME: &'static str = "promo_copy";
    type Id = String;

    fn retention(&self) -> Option<Duration> {
        Some(Duration::from_secs(40 * 24 * 3600))
    }
}
