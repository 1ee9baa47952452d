//! The events of carts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wingbeat::Event;

use crate::{Lines, OrderId, UserId, bounds};

/// The session claim with the newest version of the cart that its user has seen. The cart service
/// raises it; a service with a copy of carts waits until its copy is that new.
pub const SEEN_VERSION: &str = "cart_version";

/// A cart was opened for a user.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "carts.cart_opened", version = 1, key = user_id)]
pub struct CartOpened {
    /// The user.
    pub user_id: UserId,
}

/// The content of a cart changed.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "carts.cart_changed", version = 1, key = user_id)]
pub struct CartChanged {
    /// The user.
    pub user_id: UserId,
    /// The cart's version.
    pub version: u64,
    /// The complete content.
    #[serde(deserialize_with = "bounds::lines")]
    pub lines: Lines,
    /// The order whose purchase was removed, if that is the cause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id: Option<OrderId>,
}
