//! The private messages of this service.

use serde::{Deserialize, Serialize};
use shop_contracts::{ClaimId, Lines, Money, OrderId, UserId};
use wingbeat::{Command, Event, JsonSchema, Timestamp, schemars};

use crate::config::Deadlines;

/// Starts the checkout of an accepted order. It is private to this service because it carries the
/// payment token.
#[derive(Command, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[command(name = "orders.start_checkout", version = 1, key = order_id, internal)]
pub struct StartCheckout {
    /// The order.
    pub order_id: OrderId,
    /// The owner.
    pub user_id: UserId,
    /// The products and quantities to be reserved.
    pub lines: Lines,
    /// The amount to be paid.
    pub total: Money,
    /// The promo code to be redeemed.
    pub promo_code: Option<String>,
    /// `true` if the total has no discount although there is a code. Such an order is rejected
    /// instead of costing more.
    #[serde(default)]
    pub promo_unusable: bool,
    /// The claim on a flash sale that has the unit already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flash_claim_id: Option<ClaimId>,
    /// The time of the acceptance, from which the promise counts that the order is paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_at: Option<Timestamp>,
    /// The provider's token of the card.
    pub token: String,
    /// The deadlines.
    #[serde(default)]
    pub deadlines: Deadlines,
}

/// Cancels an order on behalf of the customer. Private to this service.
#[derive(Command, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[command(name = "orders.cancel_checkout", version = 1, key = order_id, internal)]
pub struct CancelCheckout {
    /// The order.
    pub order_id: OrderId,
}

/// Removes the addresses of an erased user's orders, some per unit. Private to this service. It
/// follows the destruction of the user's key, after which no address can be read.
#[derive(Command, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[command(name = "orders.scrub_addresses", version = 1, key = user_id, internal)]
pub struct ScrubAddresses {
    /// The user.
    pub user_id: UserId,
    /// The last order whose address was removed; `None` at the start.
    pub after: Option<OrderId>,
}

/// The cancel came after the dispatch. For the timeline.
#[derive(Event, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[event(name = "orders.cancel_refused", version = 1, key = order_id, internal)]
pub struct CancelRefused {
    /// The order.
    pub order_id: OrderId,
}

/// A timer: the current step was not answered in time, and its command is sent again.
#[derive(Event, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[event(name = "orders.resend_due", version = 1, key = order_id)]
pub struct ResendDue {
    /// The order.
    pub order_id: OrderId,
}

/// A timer: the authorization of the payment is delayed.
#[derive(Event, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[event(name = "orders.payment_slow", version = 1, key = order_id)]
pub struct PaymentSlow {
    /// The order.
    pub order_id: OrderId,
}

/// A timer: the authorization of the payment was not answered within the limit.
#[derive(Event, Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[event(name = "orders.payment_expired", version = 1, key = order_id)]
pub struct PaymentExpired {
    /// The order.
    pub order_id: OrderId,
}
