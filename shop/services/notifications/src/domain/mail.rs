//! Mails: a template and its values.

use serde::{Deserialize, Serialize};
use shop_contracts::{Money, OrderId, RejectReason, UserId};
use wingbeat::{JsonSchema, Timestamp, schemars};

use super::Person;

/// A mail to be written: a template and its values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "template", rename_all = "snake_case")]
pub enum Mail {
    /// The welcome of a new user.
    Welcome,
    /// A promo code. Only for users who want offers.
    Promo {
        /// The code.
        code: String,
        /// The discount in percent.
        percent: u8,
        /// The time at which the code expires.
        expires_at: Timestamp,
    },
    /// The confirmation of a payment.
    OrderPaid {
        /// The order.
        order_id: OrderId,
        /// The paid amount.
        total: Money,
    },
    /// The rejection of an order.
    OrderRejected {
        /// The order.
        order_id: OrderId,
        /// The reason.
        reason: RejectReason,
    },
    /// The dispatch of an order.
    OrderShipped {
        /// The order.
        order_id: OrderId,
    },
    /// The cancellation of an order.
    OrderCancelled {
        /// The order.
        order_id: OrderId,
    },
}

impl Mail {
    /// The templates of mails about orders. The ids of orders are their causes.
    pub(crate) const OF_ORDERS: [&'static str; 4] = [
        "order_paid",
        "order_rejected",
        "order_shipped",
        "order_cancelled",
    ];

    /// Returns the name of the template.
    #[must_use]
    pub fn template(&self) -> &'static str {
        match self {
            Self::Welcome => "welcome",
            Self::Promo { .. } => "promo",
            Self::OrderPaid { .. } => "order_paid",
            Self::OrderRejected { .. } => "order_rejected",
            Self::OrderShipped { .. } => "order_shipped",
            Self::OrderCancelled { .. } => "order_cancelled",
        }
    }

    /// Returns the cause of the mail. One mail is sent per cause and template.
    #[must_use]
    pub fn cause(&self, user: UserId) -> String {
        match self {
            Self::Welcome => user.to_string(),
            Self::Promo { code, .. } => code.clone(),
            Self::OrderPaid { order_id, .. }
            | Self::OrderRejected { order_id, .. }
            | Self::OrderShipped { order_id }
            | Self::OrderCancelled { order_id } => order_id.to_string(),
        }
    }

    /// Returns whether the person wants this mail.
    #[must_use]
    pub fn wanted_by(&self, person: &Person) -> bool {
        person.marketing_opt_in || !matches!(self, Self::Promo { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ada(marketing_opt_in: bool) -> Person {
        Person {
            email: "ada@example.org".into(),
            name: "Ada".into(),
            marketing_opt_in,
        }
    }

    fn promo() -> Mail {
        Mail::Promo {
            code: "WELCOME-1".into(),
            percent: 10,
            expires_at: Timestamp::from_millis(0),
        }
    }

    #[test]
    fn only_users_who_want_offers_get_a_promo_mail() {
        assert!(promo().wanted_by(&ada(true)));
        assert!(!promo().wanted_by(&ada(false)));
        assert!(Mail::Welcome.wanted_by(&ada(false)));
    }

    #[test]
    fn mails_of_one_order_differ_by_template() {
        let (order_id, user) = (OrderId::default(), UserId::default());
        let (shipped, cancelled) = (
            Mail::OrderShipped { order_id },
            Mail::OrderCancelled { order_id },
        );
        assert_eq!(shipped.cause(user), cancelled.cause(user));
        assert_ne!(shipped.template(), cancelled.template());
    }
}
