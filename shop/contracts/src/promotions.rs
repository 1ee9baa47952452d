//! The commands to promotions and its events.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wingbeat::{Command, Event};

use crate::{OrderId, Percent, UserId, bounds};

/// Reserve a promo code for an order.
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "promotions.reserve_promo", version = 1, key = code)]
pub struct ReservePromo {
    /// The order.
    pub order_id: OrderId,
    /// The user.
    pub user_id: UserId,
    /// The code, in upper case.
    #[serde(deserialize_with = "bounds::code")]
    #[schemars(length(max = bounds::CODE_MAX))]
    pub code: String,
}

/// Release a promo code. If it is not reserved yet, a later reservation is rejected.
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "promotions.release_promo", version = 1, key = code)]
pub struct ReleasePromo {
    /// The order.
    pub order_id: OrderId,
    /// The code, in upper case.
    #[serde(deserialize_with = "bounds::code")]
    #[schemars(length(max = bounds::CODE_MAX))]
    pub code: String,
}

/// Redeem a reserved promo code.
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "promotions.redeem_promo", version = 1, key = code)]
pub struct RedeemPromo {
    /// The order.
    pub order_id: OrderId,
    /// The code, in upper case.
    #[serde(deserialize_with = "bounds::code")]
    #[schemars(length(max = bounds::CODE_MAX))]
    pub code: String,
}

/// A promo code was issued to a user, who can redeem it once.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "promotions.promo_issued", version = 1, key = user_id)]
pub struct PromoIssued {
    /// The user.
    pub user_id: UserId,
    /// The code, in upper case.
    #[serde(deserialize_with = "bounds::code")]
    #[schemars(length(max = bounds::CODE_MAX))]
    pub code: String,
    /// The discount in percent.
    pub percent: Percent,
    /// The time from which the code can no longer be reserved.
    pub expires_at: wingbeat::Timestamp,
}

/// A promo code is reserved for an order.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "promotions.promo_reserved", version = 1, key = order_id)]
pub struct PromoReserved {
    /// The order.
    pub order_id: OrderId,
    /// The code, in upper case.
    #[serde(deserialize_with = "bounds::code")]
    #[schemars(length(max = bounds::CODE_MAX))]
    pub code: String,
    /// The discount in percent.
    pub percent: Percent,
}

/// An order cannot use a promo code.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "promotions.promo_rejected", version = 1, key = order_id)]
pub struct PromoRejected {
    /// The order.
    pub order_id: OrderId,
    /// The code, in upper case.
    #[serde(deserialize_with = "bounds::code")]
    #[schemars(length(max = bounds::CODE_MAX))]
    pub code: String,
}

/// A promo code was redeemed.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "promotions.promo_redeemed", version = 1, key = order_id)]
pub struct PromoRedeemed {
    /// The order.
    pub order_id: OrderId,
    /// The code, in upper case.
    #[serde(deserialize_with = "bounds::code")]
    #[schemars(length(max = bounds::CODE_MAX))]
    pub code: String,
}

/// A promo code was released.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "promotions.promo_released", version = 1, key = order_id)]
pub struct PromoReleased {
    /// The order.
    pub order_id: OrderId,
    /// The code, in upper case.
    #[serde(deserialize_with = "bounds::code")]
    #[schemars(length(max = bounds::CODE_MAX))]
    pub code: String,
}
