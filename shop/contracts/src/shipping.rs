//! The commands to shipping and its events.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wingbeat::{Command, Event};

use crate::OrderId;

/// Create the shipment of an order.
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "shipping.create_shipment", version = 1, key = order_id)]
pub struct CreateShipment {
    /// The order.
    pub order_id: OrderId,
}

/// Cancel the shipment of an order. If there is none yet, a later creation is refused.
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "shipping.cancel_shipment", version = 1, key = order_id)]
pub struct CancelShipment {
    /// The order.
    pub order_id: OrderId,
}

/// The shipment was created.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "shipping.shipment_created", version = 1, key = order_id)]
pub struct ShipmentCreated {
    /// The order.
    pub order_id: OrderId,
}

/// The shipment was dispatched.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "shipping.shipment_dispatched", version = 1, key = order_id)]
pub struct ShipmentDispatched {
    /// The order.
    pub order_id: OrderId,
}

/// The shipment was delivered.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "shipping.shipment_delivered", version = 1, key = order_id)]
pub struct ShipmentDelivered {
    /// The order.
    pub order_id: OrderId,
}

/// The shipment was cancelled.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "shipping.shipment_cancelled", version = 1, key = order_id)]
pub struct ShipmentCancelled {
    /// The order.
    pub order_id: OrderId,
}

/// The shipment was not cancelled, because it is dispatched already.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "shipping.shipment_cancel_refused", version = 1, key = order_id)]
pub struct ShipmentCancelRefused {
    /// The order.
    pub order_id: OrderId,
}
