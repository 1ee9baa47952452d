//! Messages that this service sends itself.

use serde::{Deserialize, Serialize};
use shop_contracts::{Lines, Money, OrderId, UserId};
use wingbeat::{Command, Event, JsonSchema, schemars};

use crate::config::Deadlines;

/// Begins the checkout of an accepted order. Private to this service: it carries the payment token.
#[derive(Command, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[command(name = "orders.start_checkout", version = 1, key = order_id, internal)]
pub struct StartCheckout {
    /// The order.
    pub order_id: OrderId,
    /// Its owner.
    pub user_id: UserId,
    /// What to hold.
    pub lines: Lines,
    /// What to pay.
    pub total: Money,
    /// The promo to use.
    pub promo_code: Option<String>,
    /// The promo is none that this service could take off: the order is rejected, and never costs more.
    #[serde(default)]
    pub promo_unusable: bool,
    /// The card, as the provider knows it.
    pub token: String,
    /// How long to wait for what.
    #[serde(default)]
    pub deadlines: Deadlines,
}

/// The customer calls the order off. Private to this service.
#[derive(Command, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[command(name = "orders.cancel_checkout", version = 1, key = order_id, internal)]
pub struct CancelCheckout {
    /// The order.
    pub order_id: OrderId,
}

/// A cancel came too late: the order was dispatched first. For the timeline.
#[derive(Event, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[event(name = "orders.cancel_refused", version = 1, key = order_id, internal)]
pub struct CancelRefused {
    /// The order.
    pub order_id: OrderId,
}

/// The step was not answered in time: ask again.
#[derive(Event, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[event(name = "orders.resend_due", version = 1, key = order_id)]
pub struct ResendDue {
    /// The order.
    pub order_id: OrderId,
}

/// The payment is taking long.
#[derive(Event, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[event(name = "orders.payment_slow", version = 1, key = order_id)]
pub struct PaymentSlow {
    /// The order.
    pub order_id: OrderId,
}

/// The payment was never answered.
#[derive(Event, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[event(name = "orders.payment_expired", version = 1, key = order_id)]
pub struct PaymentExpired {
    /// The order.
    pub order_id: OrderId,
}
