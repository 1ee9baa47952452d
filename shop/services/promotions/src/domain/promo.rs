//! A code: whose it is, what it takes off, and who uses it.

use serde::{Deserialize, Serialize};
use shop_contracts::{OrderId, UserId};
use wingbeat::ViewRow;
use wingbeat::{Entity, Timestamp};

use super::Code;
use crate::views::PromoRow;

/// A promo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Promo {
    /// Only they may use it.
    pub user_id: UserId,
    /// What it takes off.
    pub percent: u8,
    /// From then on it cannot be reserved; what was reserved before is redeemed as usual.
    pub expires_at: Timestamp,
    /// What it is used for.
    pub used: Use,
}

/// What a promo is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Use {
    /// Nothing yet.
    Issued,
    /// Held for this order.
    Reserved {
        /// Which.
        order_id: OrderId,
    },
    /// Used up by this order.
    Redeemed {
        /// Which.
        order_id: OrderId,
    },
}

impl Entity for Promo {
    const NAME: &'static str = "promo";
    type Id = Code;

    fn rows(&self, id: &str) -> Vec<ViewRow> {
        vec![ViewRow::of(id, &PromoRow::of(id, self))]
    }
}

impl Promo {
    /// Holds it for an order of this user; `None` when they may not use it.
    #[must_use]
    pub fn reserve(self, order_id: OrderId, user_id: UserId, now: Timestamp) -> Option<Self> {
        let free = self.used == Use::Issued && self.user_id == user_id && now < self.expires_at;
        free.then_some(Self {
            used: Use::Reserved { order_id },
            ..self
        })
    }

    /// Gives it free if this order holds it; `None` when it does not.
    #[must_use]
    pub fn release(self, order_id: OrderId) -> Option<Self> {
        (self.used == Use::Reserved { order_id }).then_some(Self {
            used: Use::Issued,
            ..self
        })
    }

    /// Uses it up if this order holds it; `None` when it does not.
    #[must_use]
    pub fn redeem(self, order_id: OrderId) -> Option<Self> {
        (self.used == Use::Reserved { order_id }).then_some(Self {
            used: Use::Redeemed { order_id },
            ..self
        })
    }

    /// How its owner sees it.
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
            percent: 10,
            expires_at: Timestamp::from_millis(2_000),
            used: Use::Issued,
        }
    }

    #[test]
    fn only_its_owner_may_use_a_promo() {
        assert!(promo().reserve(order(7), ada(), NOW).is_some());
        assert_eq!(promo().reserve(order(7), UserId(order(2).0), NOW), None);
    }

    #[test]
    fn a_promo_is_held_for_one_order_at_a_time() {
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
