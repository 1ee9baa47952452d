//! The templates.

use serde::{Deserialize, Serialize};
use shop_contracts::{Money, OrderId, RejectReason, UserId};
use wingbeat::Timestamp;

use super::Person;

/// A mail to be written: the template and what it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "template", rename_all = "snake_case")]
pub enum Mail {
    /// They signed up.
    Welcome,
    /// They got a promo. Only to those who want to hear of offers.
    Promo {
        /// The code.
        code: String,
        /// What it takes off.
        percent: u8,
        /// Until when.
        expires_at: Timestamp,
    },
    /// An order is paid.
    OrderPaid {
        /// Which.
        order_id: OrderId,
        /// How much.
        total: Money,
    },
    /// An order cannot be fulfilled.
    OrderRejected {
        /// Which.
        order_id: OrderId,
        /// Why.
        reason: RejectReason,
    },
    /// An order is on its way.
    OrderShipped {
        /// Which.
        order_id: OrderId,
    },
    /// An order was called off.
    OrderCancelled {
        /// Which.
        order_id: OrderId,
    },
}

/// A mail as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The subject.
    pub subject: String,
    /// The text.
    pub body: String,
}

impl Mail {
    /// The template's name.
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

    /// What it is about: one mail is sent a cause and template.
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

    /// Whether this person wants it.
    #[must_use]
    pub fn wanted_by(&self, person: &Person) -> bool {
        person.marketing_opt_in || !matches!(self, Self::Promo { .. })
    }

    /// Writes it.
    #[must_use]
    pub fn write(&self, person: &Person) -> Letter {
        let (subject, text) = match self {
            Self::Welcome => (
                "Welcome to the shop".into(),
                "It is good to have you.".into(),
            ),
            Self::Promo {
                code,
                percent,
                expires_at,
            } => (
                format!("{percent} % off your next order"),
                format!("Enter {code} at checkout and save {percent} %, until {expires_at}."),
            ),
            Self::OrderPaid { order_id, total } => (
                "Thank you for your order".into(),
                format!("We received {} for order {order_id}.", amount(*total)),
            ),
            Self::OrderRejected { order_id, reason } => (
                "We cannot fulfil your order".into(),
                format!(
                    "Order {order_id} could not be fulfilled: {}. You pay nothing.",
                    why(*reason)
                ),
            ),
            Self::OrderShipped { order_id } => (
                "Your order is on its way".into(),
                format!("Order {order_id} has left our warehouse."),
            ),
            Self::OrderCancelled { order_id } => (
                "Your order is cancelled".into(),
                format!("Order {order_id} is cancelled. What you paid comes back to you."),
            ),
        };
        Letter {
            subject,
            body: format!("Dear {},\n\n{text}\n\nThe shop\n", person.name),
        }
    }
}

fn why(reason: RejectReason) -> &'static str {
    match reason {
        RejectReason::OutOfStock => "there is not enough in stock",
        RejectReason::PaymentDeclined => "the payment was declined",
        RejectReason::PaymentTimeout => "the payment was never answered",
        RejectReason::PromoInvalid => "the promo code cannot be used",
        RejectReason::ReservationExpired => "we could not hold the goods long enough",
    }
}

fn amount(money: Money) -> String {
    let minor = money.amount_minor;
    format!("EUR {}.{:02}", minor / 100, minor % 100)
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
    fn offers_go_only_to_those_who_want_them() {
        assert!(promo().wanted_by(&ada(true)));
        assert!(!promo().wanted_by(&ada(false)));
        assert!(Mail::Welcome.wanted_by(&ada(false)));
    }

    #[test]
    fn a_mail_greets_by_name_and_names_what_it_is_about() {
        let letter = promo().write(&ada(true));
        assert!(letter.body.starts_with("Dear Ada,"));
        assert!(letter.body.contains("WELCOME-1"));
    }

    #[test]
    fn an_order_may_be_the_cause_of_several_templates() {
        let (order_id, user) = (OrderId::default(), UserId::default());
        let (shipped, cancelled) = (
            Mail::OrderShipped { order_id },
            Mail::OrderCancelled { order_id },
        );
        assert_eq!(shipped.cause(user), cancelled.cause(user));
        assert_ne!(shipped.template(), cancelled.template());
    }
}
