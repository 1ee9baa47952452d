//! The events of orders.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wingbeat::Event;

use crate::{Line, Money, OrderId, UserId, bounds};

/// The status of an order.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// The order is accepted.
    Placed,
    /// All lines are reserved.
    StockReserved,
    /// The payment is authorized.
    PaymentAuthorized,
    /// The payment is captured.
    Paid,
    /// The shipment is dispatched.
    Shipped,
    /// The shipment is delivered.
    Completed,
    /// A cancellation is in progress.
    Cancelling,
    /// The order cannot be fulfilled.
    Rejected,
    /// The customer cancelled the order.
    Cancelled,
}

/// The reason of a rejection.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum RejectReason {
    /// A product is out of stock.
    OutOfStock,
    /// The card was declined.
    PaymentDeclined,
    /// The authorization was not answered within the limit.
    PaymentTimeout,
    /// The promo code cannot be used.
    PromoInvalid,
    /// The reservation of the stock expired.
    ReservationExpired,
}

/// An order was accepted.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "orders.order_placed", version = 1, key = order_id)]
pub struct OrderPlaced {
    /// The order.
    pub order_id: OrderId,
    /// The user.
    pub user_id: UserId,
    /// The products, quantities and prices.
    pub lines: Vec<Line>,
    /// The sum of the lines.
    pub subtotal: Money,
    /// The discount of the promo.
    pub discount: Money,
    /// The amount to be paid.
    pub total: Money,
    /// The promo code.
    #[serde(default, deserialize_with = "bounds::optional_code")]
    pub promo_code: Option<String>,
    /// `true` if the order bought the cart.
    pub from_cart: bool,
}

/// The payment of an order is delayed.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "orders.order_payment_delayed", version = 1, key = order_id)]
pub struct OrderPaymentDelayed {
    /// The order.
    pub order_id: OrderId,
    /// The user.
    pub user_id: UserId,
}

/// An order was paid.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "orders.order_paid", version = 1, key = order_id)]
pub struct OrderPaid {
    /// The order.
    pub order_id: OrderId,
    /// The user.
    pub user_id: UserId,
    /// The paid amount.
    pub total: Money,
}

/// An order was dispatched.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "orders.order_shipped", version = 1, key = order_id)]
pub struct OrderShipped {
    /// The order.
    pub order_id: OrderId,
    /// The user.
    pub user_id: UserId,
}

/// An order was delivered.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "orders.order_completed", version = 1, key = order_id)]
pub struct OrderCompleted {
    /// The order.
    pub order_id: OrderId,
    /// The user.
    pub user_id: UserId,
}

/// An order was rejected, because it cannot be fulfilled.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "orders.order_rejected", version = 1, key = order_id)]
pub struct OrderRejected {
    /// The order.
    pub order_id: OrderId,
    /// The user.
    pub user_id: UserId,
    /// The reason.
    pub reason: RejectReason,
}

/// An order was cancelled by its customer.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "orders.order_cancelled", version = 1, key = order_id)]
pub struct OrderCancelled {
    /// The order.
    pub order_id: OrderId,
    /// The user.
    pub user_id: UserId,
}
