//! The service's own copies of the catalogue, of carts and of promos.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use shop_contracts::carts::CartChanged;
use shop_contracts::{Lines, Money, OrderId, Percent, Sku, UserId};
use wingbeat::{Entity, Timestamp};

/// A copy of a product, built from the catalogue's events.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProductCopy {
    /// The name.
    pub name: String,
    /// The price of one unit.
    pub price: Money,
    /// `true` if the product is no longer sold.
    pub retired: bool,
    /// The catalogue's version; an older event is ignored.
    pub version: u64,
}

impl Entity for ProductCopy {
    const NAME: &'static str = "product_copy";
    type Id = Sku;
}

/// A copy of a user's cart, built from the events of carts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CartCopy {
    /// The products and quantities.
    pub lines: Lines,
    /// The cart's version; an older event is ignored.
    pub version: u64,
    /// The purchases that carts has not yet removed from the cart.
    #[serde(default)]
    pub bought: Vec<(OrderId, Lines)>,
}

impl CartCopy {
    /// Returns the lines that can be bought: those of pending purchases are not bought again.
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

    /// Applies a change of the cart.
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

/// A copy of a promo, built from the events of promotions.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PromoCopy {
    /// The owner, who alone can use it.
    pub user_id: UserId,
    /// The discount in percent.
    pub percent: Percent,
    /// The time from which it can no longer be reserved.
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
    fn bought_lines_are_not_bought_again_until_carts_removes_them() {
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
    fn a_late_removal_still_ends_the_pending_purchase() {
        let order = OrderId::default();
        let mut cart = CartCopy::default();
        cart.bought.push((order, lines(&[("A", 1)])));
        cart.changed(changed(5, &[("A", 1)], None));
        cart.changed(changed(4, &[], Some(order)));
        assert_eq!(cart.left(), lines(&[("A", 1)]));
    }
}
