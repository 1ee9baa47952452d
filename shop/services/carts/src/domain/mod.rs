//! What may happen to a cart. Pure.

use serde::{Deserialize, Serialize};
use shop_contracts::{Lines, QUANTITY_MAX, Sku, UserId};
use thiserror::Error;
use wingbeat::Entity;

/// Distinct products in a cart: as many as an order may have.
pub const LINES_MAX: usize = 50;

/// A user's cart. That it exists is the claim by which it is opened once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cart {
    /// Grows by one with each change of the lines.
    pub version: u64,
    /// Products and quantities, in the order in which they were put in.
    pub lines: Lines,
}

impl Entity for Cart {
    const NAME: &'static str = "cart";
    type Id = UserId;
}

/// Why a product does not go in.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Refusal {
    /// The quantity is none.
    #[error("1 to {QUANTITY_MAX}")]
    Quantity,
    /// No room for another product.
    #[error("a cart holds at most {LINES_MAX} products")]
    Full,
}

impl Cart {
    /// With so many of a product, instead of as many as there were.
    ///
    /// # Errors
    ///
    /// The quantity is out of bounds, or the cart is full.
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

    /// Without a product.
    #[must_use]
    pub fn without(&self, sku: &Sku) -> Self {
        let others = self.lines.iter().filter(|(other, _)| other != sku);
        self.changed(others.cloned().collect())
    }

    /// Without what was bought: what was added since stays.
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
            cart.with(&sku(of), *quantity).expect("it goes in")
        })
    }

    #[test]
    fn a_quantity_replaces_the_one_before() {
        let cart = cart(&[("A", 1), ("B", 2), ("A", 5)]);
        assert_eq!(cart.lines, [(sku("A"), 5), (sku("B"), 2)]);
        assert_eq!(cart.version, 3);
    }

    #[test]
    fn the_same_again_is_no_change() {
        let cart = cart(&[("A", 1)]);
        assert_eq!(cart.with(&sku("A"), 1), Ok(cart.clone()));
        assert_eq!(cart.without(&sku("B")), cart);
    }

    #[test]
    fn what_was_added_since_stays() {
        let cart = cart(&[("A", 3), ("B", 1), ("C", 1)]);
        let left = cart.bought(&[(sku("A"), 2), (sku("B"), 1)]);
        assert_eq!(left.lines, [(sku("A"), 1), (sku("C"), 1)]);
        assert_eq!(left.bought(&[(sku("A"), 9)]).lines, [(sku("C"), 1)]);
    }

    #[test]
    fn bounds_are_kept() {
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
