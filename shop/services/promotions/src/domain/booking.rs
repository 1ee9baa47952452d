//! An order's use of its code, and the recorded reply to a repeated command.

use serde::{Deserialize, Serialize};
use shop_contracts::OrderId;
use wingbeat::Entity;

/// An order's use of its code. An order has one code at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Booking {
    /// The code is reserved.
    Reserved {
        /// The discount in percent.
        percent: u8,
    },
    /// The order cannot use the code.
    Rejected,
    /// The code is released. A release before the reservation is recorded too, and the late
    /// reservation is rejected.
    Released,
    /// The code is redeemed.
    Redeemed {
        /// The discount in percent.
        percent: u8,
    },
}

impl Entity for Booking {
    const NAME: &'static str = "booking";
    type Id = OrderId;
}

impl Booking {
    /// Returns the reply to a repeated reservation: the discount in percent, or `None` for a
    /// rejection.
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
