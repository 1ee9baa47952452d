//! What carts tell.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wingbeat::Event;

use crate::{Lines, OrderId, UserId};

/// A user has a cart.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "carts.cart_opened", version = 1, key = user_id)]
pub struct CartOpened {
    /// The user.
    pub user_id: UserId,
}

/// A cart's content changed.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "carts.cart_changed", version = 1, key = user_id)]
pub struct CartChanged {
    /// The user.
    pub user_id: UserId,
    /// The cart's version.
    pub version: u64,
    /// All that is in it.
    pub lines: Lines,
    /// The order that took out what it bought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id: Option<OrderId>,
}
