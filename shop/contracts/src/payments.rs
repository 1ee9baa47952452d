//! The commands to payments and its events.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wingbeat::{Command, Event};

use crate::{Money, OrderId};

/// Authorize a payment: reserve its amount on the card.
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "payments.authorize_payment", version = 1, key = order_id)]
pub struct AuthorizePayment {
    /// The order.
    pub order_id: OrderId,
    /// The amount.
    pub amount: Money,
    /// The provider's token of the card.
    pub token: String,
}

/// Capture the authorized amount.
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "payments.capture_payment", version = 1, key = order_id)]
pub struct CapturePayment {
    /// The order.
    pub order_id: OrderId,
}

/// Void the authorization of a payment. If there is none yet, a later authorization is refused.
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "payments.void_payment", version = 1, key = order_id)]
pub struct VoidPayment {
    /// The order.
    pub order_id: OrderId,
}

/// Refund the captured amount.
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "payments.refund_payment", version = 1, key = order_id)]
pub struct RefundPayment {
    /// The order.
    pub order_id: OrderId,
}

/// The payment is authorized.
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

/// The authorization is delayed, because the provider does not answer.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "payments.payment_delayed", version = 1, key = order_id)]
pub struct PaymentDelayed {
    /// The order.
    pub order_id: OrderId,
}

/// The payment was captured.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "payments.payment_captured", version = 1, key = order_id)]
pub struct PaymentCaptured {
    /// The order.
    pub order_id: OrderId,
    /// The amount.
    pub amount: Money,
}

/// The provider refused the capture.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "payments.payment_capture_refused", version = 1, key = order_id)]
pub struct PaymentCaptureRefused {
    /// The order.
    pub order_id: OrderId,
}

/// Nothing is authorized, and nothing will be.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "payments.payment_voided", version = 1, key = order_id)]
pub struct PaymentVoided {
    /// The order.
    pub order_id: OrderId,
}

/// The captured amount was refunded.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "payments.payment_refunded", version = 1, key = order_id)]
pub struct PaymentRefunded {
    /// The order.
    pub order_id: OrderId,
    /// The amount.
    pub amount: Money,
}
