//! What orders tells.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wingbeat::Event;

use crate::{Line, Money, OrderId, UserId};

/// Where an order stands.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// Accepted.
    Placed,
    /// All lines are held.
    StockReserved,
    /// The amount is held.
    PaymentAuthorized,
    /// The amount was taken.
    Paid,
    /// On its way.
    Shipped,
    /// Arrived.
    Completed,
    /// Being called off.
    Cancelling,
    /// Cannot be fulfilled.
    Rejected,
    /// Called off.
    Cancelled,
}

/// Why an order was rejected.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum RejectReason {
    /// Not enough in stock.
    OutOfStock,
    /// The card was declined.
    PaymentDeclined,
    /// The payment was never answered.
    PaymentTimeout,
    /// The promo cannot be used.
    PromoInvalid,
    /// The goods were not held long enough.
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
    /// What.
    pub lines: Vec<Line>,
    /// The sum of the lines.
    pub subtotal: Money,
    /// What the promo takes off.
    pub discount: Money,
    /// What is to be paid.
    pub total: Money,
    /// The promo.
    pub promo_code: Option<String>,
    /// The cart was bought.
    pub from_cart: bool,
}

/// An order's payment takes long.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "orders.order_payment_delayed", version = 1, key = order_id)]
pub struct OrderPaymentDelayed {
    /// The order.
    pub order_id: OrderId,
    /// The user.
    pub user_id: UserId,
}

/// An order is paid.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "orders.order_paid", version = 1, key = order_id)]
pub struct OrderPaid {
    /// The order.
    pub order_id: OrderId,
    /// The user.
    pub user_id: UserId,
    /// How much.
    pub total: Money,
}

/// An order is on its way.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "orders.order_shipped", version = 1, key = order_id)]
pub struct OrderShipped {
    /// The order.
    pub order_id: OrderId,
    /// The user.
    pub user_id: UserId,
}

/// An order has arrived.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "orders.order_completed", version = 1, key = order_id)]
pub struct OrderCompleted {
    /// The order.
    pub order_id: OrderId,
    /// The user.
    pub user_id: UserId,
}

/// An order cannot be fulfilled.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "orders.order_rejected", version = 1, key = order_id)]
pub struct OrderRejected {
    /// The order.
    pub order_id: OrderId,
    /// The user.
    pub user_id: UserId,
    /// Why.
    pub reason: RejectReason,
}

/// An order was called off by its customer.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "orders.order_cancelled", version = 1, key = order_id)]
pub struct OrderCancelled {
    /// The order.
    pub order_id: OrderId,
    /// The user.
    pub user_id: UserId,
}
