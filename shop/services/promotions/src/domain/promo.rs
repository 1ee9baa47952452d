//! A promo: its owner, its discount and its use.

use serde::{Deserialize, Serialize};
use shop_contracts::{OrderId, Percent, UserId};
use wingbeat::{JsonSchema, Timestamp, schemars};

/// A promo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Promo {
    /// The owner, who alone can use it.
    pub user_id: UserId,
    /// The discount in percent.
    pub percent: Percent,
    /// The time from which it can no longer be reserved. An earlier reservation can still be
    /// redeemed.
    pub expires_at: Timestamp,
    /// Its use.
    pub used: Use,
}

/// The use of a promo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Use {
    /// Unused.
    Issued,
    /// Reserved for an order.
    Reserved {
        /// The order.
        order_id: OrderId,
    },
    /// Redeemed by an order.
    Redeemed {
        /// The order.
        order_id: OrderId,
    },
}

impl Promo {
    /// Reserves the promo for an order of this user; `None` if the user cannot use it.
    #[must_use]
    pub fn reserve(self, order_id: OrderId, user_id: UserId, now: Timestamp) -> Option<Self> {
        let free = self.used == Use::Issued && self.user_id == user_id && now < self.expires_at;
        free.then_some(Self {
            used: Use::Reserved { order_id },
            ..self
        })
    }

    /// Releases the promo; `None` if it is not reserved for this order.
    #[must_use]
    pub fn release(self, order_id: OrderId) -> Option<Self> {
        (self.used == Use::Reserved { order_id }).then_some(Self {
            used: Use::Issued,
            ..self
        })
    }

    /// Redeems the promo; `None` if it is not reserved for this order.
    #[must_use]
    pub fn redeem(self, order_id: OrderId) -> Option<Self> {
        (self.used == Use::Reserved { order_id }).then_some(Self {
            used: Use::Redeemed { order_id },
            ..self
        })
    }

    /// Returns the status that the owner sees: `issued`, `reserved`, `redeemed` or `expired`.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> &'static str {
        match self.used {
            Use::Issued if self.expires_at <= now => "expired",
            Use::Issued => "issued",
            Use::Reserved { .. } => "reserved",
            Use::Redeemed { .. } => "redeemed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000);

    fn order(last: u8) -> OrderId {
        format!("0193f0a0-0000-7000-8000-0000000000{last:02}")
            .parse()
            .unwrap()
    }

    fn ada() -> UserId {
        UserId(order(1).0)
    }

    fn promo() -> Promo {
        Promo {
            user_id: ada(),
            percent: Percent::new(10).unwrap(),
            expires_at: Timestamp::from_millis(2_000),
            used: Use::Issued,
        }
    }

    #[test]
    fn only_its_owner_can_reserve_a_promo() {
        assert!(promo().reserve(order(7), ada(), NOW).is_some());
        assert_eq!(promo().reserve(order(7), UserId(order(2).0), NOW), None);
    }

    #[test]
    fn a_promo_is_reserved_for_one_order_at_a_time() {
        let held = promo().reserve(order(7), ada(), NOW).unwrap();
        assert_eq!(held.clone().reserve(order(8), ada(), NOW), None);
        assert_eq!(held.clone().release(order(8)), None);
        assert_eq!(held.release(order(7)), Some(promo()));
    }

    #[test]
    fn a_promo_is_redeemed_at_most_once() {
        let held = promo().reserve(order(7), ada(), NOW).unwrap();
        let used = held.redeem(order(7)).unwrap();
        assert_eq!(used.clone().redeem(order(7)), None);
        assert_eq!(used.clone().release(order(7)), None);
        assert_eq!(used.reserve(order(8), ada(), NOW), None);
    }

    #[test]
    fn an_expired_promo_cannot_be_reserved_but_a_reserved_one_can_be_redeemed() {
        let late = Timestamp::from_millis(2_000);
        assert_eq!(promo().reserve(order(7), ada(), late), None);
        assert_eq!(promo().status(late), "expired");
        let held = promo().reserve(order(7), ada(), NOW).unwrap();
        assert_eq!(held.status(late), "reserved");
        assert!(held.redeem(order(7)).is_some());
    }
}
