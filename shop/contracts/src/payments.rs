//! What payments is asked and tells.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wingbeat::{Command, Event};

use crate::{Money, OrderId};

/// Hold an amount on the customer's card.
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "payments.authorize_payment", version = 1, key = order_id)]
pub struct AuthorizePayment {
    /// The order.
    pub order_id: OrderId,
    /// How much.
    pub amount: Money,
    /// The card, as the provider knows it.
    pub token: String,
}

/// Take the amount that is held.
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "payments.capture_payment", version = 1, key = order_id)]
pub struct CapturePayment {
    /// The order.
    pub order_id: OrderId,
}

/// Let go of what is held, also if nothing was held: a later authorization is refused.
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "payments.void_payment", version = 1, key = order_id)]
pub struct VoidPayment {
    /// The order.
    pub order_id: OrderId,
}

/// Pay back what was taken.
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "payments.refund_payment", version = 1, key = order_id)]
pub struct RefundPayment {
    /// The order.
    pub order_id: OrderId,
}

/// The amount is held.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "payments.payment_authorized", version = 1, key = order_id)]
pub struct PaymentAuthorized {
    /// The order.
    pub order_id: OrderId,
}

/// The card was declined.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "payments.payment_declined", version = 1, key = order_id)]
pub struct PaymentDeclined {
    /// The order.
    pub order_id: OrderId,
}

/// The provider does not answer.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "payments.payment_delayed", version = 1, key = order_id)]
pub struct PaymentDelayed {
    /// The order.
    pub order_id: OrderId,
}

/// The amount was taken.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "payments.payment_captured", version = 1, key = order_id)]
pub struct PaymentCaptured {
    /// The order.
    pub order_id: OrderId,
    /// How much.
    pub amount: Money,
}

/// The amount will not be given.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "payments.payment_capture_refused", version = 1, key = order_id)]
pub struct PaymentCaptureRefused {
    /// The order.
    pub order_id: OrderId,
}

/// Nothing is held, and nothing will be.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "payments.payment_voided", version = 1, key = order_id)]
pub struct PaymentVoided {
    /// The order.
    pub order_id: OrderId,
}

/// What was taken was paid back.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "payments.payment_refunded", version = 1, key = order_id)]
pub struct PaymentRefunded {
    /// The order.
    pub order_id: OrderId,
    /// How much.
    pub amount: Money,
}
