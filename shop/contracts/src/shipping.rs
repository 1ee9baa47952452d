//! What shipping is asked and tells.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wingbeat::{Command, Event};

use crate::OrderId;

/// Send an order.
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "shipping.create_shipment", version = 1, key = order_id)]
pub struct CreateShipment {
    /// The order.
    pub order_id: OrderId,
}

/// Do not send an order, also if it was never to be sent.
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "shipping.cancel_shipment", version = 1, key = order_id)]
pub struct CancelShipment {
    /// The order.
    pub order_id: OrderId,
}

/// It will be sent.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "shipping.shipment_created", version = 1, key = order_id)]
pub struct ShipmentCreated {
    /// The order.
    pub order_id: OrderId,
}

/// It is on its way.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "shipping.shipment_dispatched", version = 1, key = order_id)]
pub struct ShipmentDispatched {
    /// The order.
    pub order_id: OrderId,
}

/// It has arrived.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "shipping.shipment_delivered", version = 1, key = order_id)]
pub struct ShipmentDelivered {
    /// The order.
    pub order_id: OrderId,
}

/// It will not be sent.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "shipping.shipment_cancelled", version = 1, key = order_id)]
pub struct ShipmentCancelled {
    /// The order.
    pub order_id: OrderId,
}

/// It is on its way already.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "shipping.shipment_cancel_refused", version = 1, key = order_id)]
pub struct ShipmentCancelRefused {
    /// The order.
    pub order_id: OrderId,
}
