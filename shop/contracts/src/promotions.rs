//! What promotions is asked and tells.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wingbeat::{Command, Event};

use crate::{OrderId, UserId};

/// Hold a code for an order.
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "promotions.reserve_promo", version = 1, key = code)]
pub struct ReservePromo {
    /// The order.
    pub order_id: OrderId,
    /// The user.
    pub user_id: UserId,
    /// The code, in upper case.
    pub code: String,
}

/// Give a held code free, also if it was never held.
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "promotions.release_promo", version = 1, key = code)]
pub struct ReleasePromo {
    /// The order.
    pub order_id: OrderId,
    /// The code, in upper case.
    pub code: String,
}

/// Use a held code up.
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "promotions.redeem_promo", version = 1, key = code)]
pub struct RedeemPromo {
    /// The order.
    pub order_id: OrderId,
    /// The code, in upper case.
    pub code: String,
}

/// A user may use a code once.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "promotions.promo_issued", version = 1, key = user_id)]
pub struct PromoIssued {
    /// The user.
    pub user_id: UserId,
    /// The code, in upper case.
    pub code: String,
    /// What it takes off, in percent.
    pub percent: u8,
    /// Until when.
    pub expires_at: wingbeat::Timestamp,
}

/// A code is held for an order.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "promotions.promo_reserved", version = 1, key = order_id)]
pub struct PromoReserved {
    /// The order.
    pub order_id: OrderId,
    /// The code, in upper case.
    pub code: String,
    /// What it takes off, in percent.
    pub percent: u8,
}

/// A code cannot be used by this order.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "promotions.promo_rejected", version = 1, key = order_id)]
pub struct PromoRejected {
    /// The order.
    pub order_id: OrderId,
    /// The code, in upper case.
    pub code: String,
}

/// A code is used up.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "promotions.promo_redeemed", version = 1, key = order_id)]
pub struct PromoRedeemed {
    /// The order.
    pub order_id: OrderId,
    /// The code, in upper case.
    pub code: String,
}

/// A code is free again.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "promotions.promo_released", version = 1, key = order_id)]
pub struct PromoReleased {
    /// The order.
    pub order_id: OrderId,
    /// The code, in upper case.
    pub code: String,
}
