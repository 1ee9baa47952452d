//! The stock of one product. It is a hot key, so it contains two counters and a version, and
//! nothing per order.

use serde::{Deserialize, Serialize};
use shop_contracts::Sku;
use thiserror::Error;
use wingbeat::{Entity, JsonSchema, schemars};

/// The stock of a product. Always 0 ≤ reserved ≤ on hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stock {
    /// The units in the warehouse, reserved or not.
    pub on_hand: i64,
    /// The units reserved for orders.
    pub reserved: i64,
    /// The version; each change adds one.
    pub version: u64,
}

/// A refusal: fewer units would be left than are reserved.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{reserved} units are reserved for orders, and only {on_hand} would be left")]
pub struct BelowReserved {
    /// The units that would be left.
    pub on_hand: i64,
    /// The reserved units.
    pub reserved: i64,
}

impl Entity for Stock {
    const NAME: &'static str = "stock";
    type Id = Sku;
}

impl Stock {
    /// Returns the units that can be sold.
    #[must_use]
    pub fn available(&self) -> i64 {
        self.on_hand - self.reserved
    }

    /// Reserves units; `None` if fewer are available.
    #[must_use]
    pub fn hold(self, quantity: u32) -> Option<Self> {
        let quantity = i64::from(quantity);
        (quantity <= self.available()).then(|| self.changed(0, quantity))
    }

    /// Makes reserved units available.
    #[must_use]
    pub fn unhold(self, quantity: u32) -> Self {
        self.changed(0, -i64::from(quantity))
    }

    /// Removes reserved units from the stock.
    #[must_use]
    pub fn take_out(self, quantity: u32) -> Self {
        let quantity = i64::from(quantity);
        self.changed(-quantity, -quantity)
    }

    /// Returns removed units to the stock.
    #[must_use]
    pub fn put_back(self, quantity: u32) -> Self {
        self.changed(i64::from(quantity), 0)
    }

    /// Adds `delta` units; a negative `delta` removes units.
    ///
    /// # Errors
    ///
    /// [`BelowReserved`] if fewer units would be left than are reserved.
    pub fn adjust(self, delta: i64) -> Result<Self, BelowReserved> {
        let on_hand = self.on_hand.saturating_add(delta);
        if on_hand < self.reserved {
            return Err(BelowReserved {
                on_hand,
                reserved: self.reserved,
            });
        }
        Ok(self.changed(on_hand - self.on_hand, 0))
    }

    fn changed(self, on_hand: i64, reserved: i64) -> Self {
        Self {
            on_hand: self.on_hand + on_hand,
            reserved: self.reserved + reserved,
            version: self.version + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Stock = Stock {
        on_hand: 10,
        reserved: 0,
        version: 1,
    };

    #[test]
    fn no_more_units_are_reserved_than_are_available() {
        let held = TEN.hold(7).unwrap();
        assert_eq!((held.available(), held.reserved), (3, 7));
        assert_eq!(held.hold(4), None);
        assert_eq!(held.hold(3).unwrap().available(), 0);
    }

    #[test]
    fn a_released_reservation_changes_only_the_version() {
        let after = TEN.hold(4).unwrap().unhold(4);
        assert_eq!(after, Stock { version: 3, ..TEN });
    }

    #[test]
    fn units_that_return_change_only_the_version() {
        let taken = TEN.hold(4).unwrap().take_out(4);
        assert_eq!((taken.on_hand, taken.reserved), (6, 0));
        assert_eq!(taken.put_back(4), Stock { version: 4, ..TEN });
    }

    #[test]
    fn an_adjustment_never_removes_reserved_units() {
        let held = TEN.hold(7).unwrap();
        assert_eq!(held.adjust(-3).unwrap().available(), 0);
        let refused = held.adjust(-4);
        assert_eq!(
            refused,
            Err(BelowReserved {
                on_hand: 6,
                reserved: 7
            })
        );
    }
}
