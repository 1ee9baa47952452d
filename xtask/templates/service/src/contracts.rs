//! The commands to samples and its events.

use serde::{Deserialize, Serialize};
use wingbeat::{Command, Event, JsonSchema, schemars};

use shop_contracts::{OrderId, UserId};

/// Rate an order.
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "samples.rate_order", version = 1, key = order_id)]
pub struct RateOrder {
    /// The order.
    pub order_id: OrderId,
    /// The customer.
    pub user_id: UserId,
    /// The number of stars.
    pub stars: u8,
}

/// An order was rated, or rated again with other stars.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "samples.order_rated", version = 1, key = order_id)]
pub struct OrderRated {
    /// The order.
    pub order_id: OrderId,
    /// The customer.
    pub user_id: UserId,
    /// The number of stars.
    pub stars: u8,
}
