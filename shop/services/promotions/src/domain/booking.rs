//! An order's use of its code, and the recorded reply to a repeated command.

use serde::{Deserialize, Serialize};
use shop_contracts::{OrderId, Percent};
use wingbeat::{Entity, JsonSchema, schemars};

/// An order's use of its code. An order has one code at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Booking {
    /// The code is reserved.
    Reserved {
        /// The discount in percent.
        percent: Percent,
    },
    /// The order cannot use the code.
    Rejected,
    /// The code is released. A release before the reservation is recorded too, and the late
    /// reservation is rejected.
    Released,
    /// The code is redeemed.
    Redeemed {
        /// The discount in percent.
        percent: Percent,
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
    pub fn granted(self) -> Option<Percent> {
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
        let percent = Percent::new(10).unwrap();
        assert_eq!(Booking::Reserved { percent }.granted(), Some(percent));
    }
}
