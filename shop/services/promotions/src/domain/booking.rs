//! What an order did with its code: the recorded answer to a repeated command.

use serde::{Deserialize, Serialize};
use shop_contracts::OrderId;
use wingbeat::Entity;

/// An order's use of a code. An order has one code at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Booking {
    /// The code is held.
    Reserved {
        /// What it takes off.
        percent: u8,
    },
    /// The order cannot use it.
    Rejected,
    /// It was given free; also before it was ever held, and then a later reservation is refused.
    Released,
    /// It is used up.
    Redeemed {
        /// What it took off.
        percent: u8,
    },
}

impl Entity for Booking {
    const NAME: &'static str = "booking";
    type Id = OrderId;
}

impl Booking {
    /// What a repeated reservation is answered: the percentage, or that it is refused.
    #[must_use]
    pub fn granted(self) -> Option<u8> {
        match self {
            Self::Reserved { percent } | Self::Redeemed { percent } => Some(percent),
            Self::Rejected | Self::Released => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reservation_after_its_release_is_refused() {
        assert_eq!(Booking::Released.granted(), None);
        assert_eq!(Booking::Reserved { percent: 10 }.granted(), Some(10));
    }
}
