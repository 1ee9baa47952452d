//! The order list, and this service's own copies of what others own.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use shop_contracts::carts::CartChanged;
use shop_contracts::{Line, Lines, Money, OrderId, OrderStatus, RejectReason, Sku, UserId};
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CartCopy {
    /// SKU and quantity.
    pub lines: Lines,
    /// The cart's version; older news is ignored.
    pub version: u64,
    /// What was bought with it and is not yet known to be out of it.
    #[serde(default)]
    pub bought: Vec<(OrderId, Lines)>,
}

impl CartCopy {
    /// What can be bought: an order placed just now is not bought again with the next.
    #[must_use]
    pub fn left(&self) -> Lines {
        let taken = |sku: &Sku| -> u32 {
            let bought = self.bought.iter().flat_map(|(_, lines)| lines);
            bought.filter(|(of, _)| of == sku).map(|(_, n)| *n).sum()
        };
        let left = self.lines.iter();
        left.map(|(sku, quantity)| (sku.clone(), quantity.saturating_sub(taken(sku))))
            .filter(|(_, quantity)| *quantity > 0)
            .collect()
    }

    /// As carts tells it now.
    pub fn changed(&mut self, event: CartChanged) {
        self.bought
            .retain(|(order, _)| Some(*order) != event.order_id);
        if self.version < event.version {
            self.version = event.version;
            self.lines = event.lines;
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(of: &[(&str, u32)]) -> Lines {
        let parse = |(sku, n): &(&str, u32)| (sku.parse().expect("a SKU"), *n);
        of.iter().map(parse).collect()
    }

    fn changed(version: u64, of: &[(&str, u32)], order_id: Option<OrderId>) -> CartChanged {
        CartChanged {
            user_id: UserId::default(),
            version,
            lines: lines(of),
            order_id,
        }
    }

    #[test]
    fn what_was_bought_is_not_bought_again_until_carts_has_taken_it_out() {
        let order = OrderId::default();
        let mut cart = CartCopy::default();
        cart.changed(changed(1, &[("A", 2)], None));
        cart.bought.push((order, lines(&[("A", 2)])));
        assert_eq!(cart.left(), []);
        cart.changed(changed(2, &[("A", 2), ("B", 1)], None));
        assert_eq!(cart.left(), lines(&[("B", 1)]));
        cart.changed(changed(3, &[("B", 1)], Some(order)));
        assert_eq!(cart.left(), lines(&[("B", 1)]));
        assert_eq!(cart.bought, []);
    }

    #[test]
    fn a_removal_that_comes_late_still_frees_what_was_added_since() {
        let order = OrderId::default();
        let mut cart = CartCopy::default();
        cart.bought.push((order, lines(&[("A", 1)])));
        cart.changed(changed(5, &[("A", 1)], None));
        cart.changed(changed(4, &[], Some(order)));
        assert_eq!(cart.left(), lines(&[("A", 1)]));
    }
}
