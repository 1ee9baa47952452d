//! A cart and the changes it allows. Pure.

use serde::{Deserialize, Serialize};
use shop_contracts::{Lines, QUANTITY_MAX, Sku, UserId};
use thiserror::Error;
use wingbeat::{Entity, JsonSchema, schemars};

/// The most distinct products in a cart. It equals the limit of an order.
pub const LINES_MAX: usize = 50;

/// A user's cart. Its existence is the claim by which it is opened once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Cart {
    /// The version; each change of the lines adds one.
    pub version: u64,
    /// Products and quantities, in the order in which the user added them.
    pub lines: Lines,
}

impl Entity for Cart {
    const NAME: &'static str = "cart";
    type Id = UserId;
}

/// The reason why a cart refuses a product.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    /// The quantity is out of bounds.
    #[error("1 to {QUANTITY_MAX}")]
    Quantity,
    /// The cart has no room for another product.
    #[error("a cart contains at most {LINES_MAX} products")]
    Full,
}

impl Cart {
    /// Returns the cart with this quantity of a product, which replaces an earlier quantity.
    ///
    /// # Errors
    ///
    /// [`Refusal::Quantity`] if the quantity is out of bounds; [`Refusal::Full`] if the cart is
    /// full.
    pub fn with(&self, sku: &Sku, quantity: u32) -> Result<Self, Refusal> {
        if !(1..=QUANTITY_MAX).contains(&quantity) {
            return Err(Refusal::Quantity);
        }
        let mut lines = self.lines.clone();
        match lines.iter().position(|(other, _)| other == sku) {
            Some(at) => lines[at].1 = quantity,
            None if lines.len() == LINES_MAX => return Err(Refusal::Full),
            None => lines.push((sku.clone(), quantity)),
        }
        Ok(self.changed(lines))
    }

    /// Returns the cart without a product.
    #[must_use]
    pub fn without(&self, sku: &Sku) -> Self {
        let others = self.lines.iter().filter(|(other, _)| other != sku);
        self.changed(others.cloned().collect())
    }

    /// Returns the cart without the bought quantities. Units that were added since the purchase
    /// stay.
    #[must_use]
    pub fn bought(&self, bought: &[(Sku, u32)]) -> Self {
        let left = self.lines.iter().filter_map(|(sku, quantity)| {
            let taken: u32 = bought
                .iter()
                .filter(|(other, _)| other == sku)
                .map(|(_, taken)| *taken)
                .sum();
            let left = quantity.saturating_sub(taken);
            (left > 0).then(|| (sku.clone(), left))
        });
        Self {
            version: self.version + 1,
            lines: left.collect(),
        }
    }

    /// Returns the cart without its products.
    #[must_use]
    pub fn emptied(&self) -> Self {
        self.changed(Lines::new())
    }

    fn changed(&self, lines: Lines) -> Self {
        let version = self.version + u64::from(lines != self.lines);
        Self { version, lines }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sku(text: &str) -> Sku {
        text.parse().expect("a SKU")
    }

    fn cart(lines: &[(&str, u32)]) -> Cart {
        let cart = Cart::default();
        lines.iter().fold(cart, |cart, (of, quantity)| {
            cart.with(&sku(of), *quantity).expect("within the limits")
        })
    }

    #[test]
    fn a_quantity_replaces_the_one_before() {
        let cart = cart(&[("A", 1), ("B", 2), ("A", 5)]);
        assert_eq!(cart.lines, [(sku("A"), 5), (sku("B"), 2)]);
        assert_eq!(cart.version, 3);
    }

    #[test]
    fn a_repeated_change_keeps_the_version() {
        let cart = cart(&[("A", 1)]);
        assert_eq!(cart.with(&sku("A"), 1), Ok(cart.clone()));
        assert_eq!(cart.without(&sku("B")), cart);
    }

    #[test]
    fn units_added_since_the_purchase_stay() {
        let cart = cart(&[("A", 3), ("B", 1), ("C", 1)]);
        let left = cart.bought(&[(sku("A"), 2), (sku("B"), 1)]);
        assert_eq!(left.lines, [(sku("A"), 1), (sku("C"), 1)]);
        assert_eq!(left.bought(&[(sku("A"), 9)]).lines, [(sku("C"), 1)]);
    }

    #[test]
    fn an_emptied_cart_has_a_new_version_unless_it_was_empty() {
        let emptied = cart(&[("A", 1)]).emptied();
        assert_eq!((emptied.version, emptied.lines.len()), (2, 0));
        assert_eq!(emptied.emptied(), emptied);
    }

    #[test]
    fn a_cart_refuses_quantities_and_products_beyond_its_limits() {
        let mut cart = Cart::default();
        assert_eq!(cart.with(&sku("A"), 0), Err(Refusal::Quantity));
        assert_eq!(cart.with(&sku("A"), 100), Err(Refusal::Quantity));
        for number in 0..LINES_MAX {
            cart = cart.with(&sku(&format!("A{number}")), 99).expect("room");
        }
        assert_eq!(cart.with(&sku("B"), 1), Err(Refusal::Full));
        assert!(cart.with(&sku("A0"), 1).is_ok());
    }
}
