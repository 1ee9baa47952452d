//! The shipment of an order, as a saga. It sets the timers; the domain decides which status may
//! follow which.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use shop_contracts::OrderId;
use shop_contracts::shipping::{
    CancelShipment, ShipmentCancelRefused, ShipmentCancelled, ShipmentCreated, ShipmentDelivered,
    ShipmentDispatched,
};
use wingbeat::{Command, Event, JsonSchema, Saga, SagaEffects, SagaInput, Unexpected, schemars};

use crate::domain::Status;

/// Starts the saga. The command is private to shipping.
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "shipping.begin_shipment", version = 1, key = order_id, internal)]
pub struct BeginShipment {
    /// The order.
    pub order_id: OrderId,
    /// The time from the creation to the dispatch.
    pub dispatch_after: Duration,
    /// The time from the dispatch to the delivery.
    pub deliver_after: Duration,
}

/// A timer: the shipment is due for dispatch.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "shipping.dispatch_due", version = 1, key = order_id)]
pub struct DispatchDue {
    /// The order.
    pub order_id: OrderId,
}

/// A timer: the shipment is due for delivery.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "shipping.deliver_due", version = 1, key = order_id)]
pub struct DeliverDue {
    /// The order.
    pub order_id: OrderId,
}

/// The inputs of the saga.
#[derive(SagaInput, Debug)]
pub enum Input {
    /// Creates the shipment.
    #[saga(start)]
    Begin(BeginShipment),
    /// Cancels the shipment. It starts the saga too, as the tombstone for a late [`Input::Begin`].
    #[saga(start)]
    Cancel(CancelShipment),
    /// Dispatches the shipment.
    #[saga(timer)]
    DispatchDue(DispatchDue),
    /// Delivers the shipment.
    #[saga(timer)]
    DeliverDue(DeliverDue),
}

type Effects = SagaEffects<Input>;

/// A shipment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Shipment {
    /// The status.
    pub status: Status,
    /// The time from the dispatch to the delivery.
    pub deliver_after: Duration,
}

impl Saga for Shipment {
    const NAME: &'static str = "shipment";
    type Input = Input;

    fn step(&mut self, input: Input, effects: &mut Effects) {
        match input {
            Input::Begin(begin) => self.begin(&begin, effects),
            Input::Cancel(CancelShipment { order_id }) => self.cancel(order_id, effects),
            Input::DispatchDue(DispatchDue { order_id }) => self.dispatch(order_id, effects),
            Input::DeliverDue(DeliverDue { order_id }) => self.deliver(order_id, effects),
        }
    }

    /// An ended shipment repeats its replies and ignores late timers.
    fn unexpected(&mut self, _reason: Unexpected, input: Input, effects: &mut Effects) {
        match input {
            Input::Begin(begin) => self.confirm(begin.order_id, effects),
            Input::Cancel(CancelShipment { order_id }) => self.answer_cancel(order_id, effects),
            Input::DispatchDue(_) | Input::DeliverDue(_) => {}
        }
    }
}

impl Shipment {
    fn begin(&mut self, begin: &BeginShipment, effects: &mut Effects) {
        let order_id = begin.order_id;
        if self.status == Status::New {
            self.deliver_after = begin.deliver_after;
            effects.after(begin.dispatch_after, &DispatchDue { order_id });
        }
        self.status = self.status.create();
        self.confirm(order_id, effects);
    }

    fn cancel(&mut self, order_id: OrderId, effects: &mut Effects) {
        if let Ok(cancelled) = self.status.cancel() {
            self.status = cancelled;
            effects.end();
        }
        self.answer_cancel(order_id, effects);
    }

    fn dispatch(&mut self, order_id: OrderId, effects: &mut Effects) {
        if let Some(dispatched) = self.status.dispatch() {
            self.status = dispatched;
            effects.publish(&ShipmentDispatched { order_id });
            effects.after(self.deliver_after, &DeliverDue { order_id });
        }
    }

    fn deliver(&mut self, order_id: OrderId, effects: &mut Effects) {
        if let Some(delivered) = self.status.deliver() {
            self.status = delivered;
            effects.publish(&ShipmentDelivered { order_id }).end();
        }
    }

    /// Replies to the creation with all events since, because the sender may have missed any of
    /// them.
    fn confirm(&self, order_id: OrderId, effects: &mut Effects) {
        if self.status == Status::Cancelled {
            effects.publish(&ShipmentCancelled { order_id });
            return;
        }
        effects.publish(&ShipmentCreated { order_id });
        if self.status >= Status::Dispatched {
            effects.publish(&ShipmentDispatched { order_id });
        }
        if self.status == Status::Delivered {
            effects.publish(&ShipmentDelivered { order_id });
        }
    }

    fn answer_cancel(&self, order_id: OrderId, effects: &mut Effects) {
        match self.status.cancel() {
            Ok(_) => effects.publish(&ShipmentCancelled { order_id }),
            Err(_) => effects.publish(&ShipmentCancelRefused { order_id }),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin() -> Input {
        Input::Begin(BeginShipment {
            order_id: OrderId::default(),
            dispatch_after: Duration::from_secs(2),
            deliver_after: Duration::from_secs(3),
        })
    }

    fn cancel() -> Input {
        Input::Cancel(CancelShipment {
            order_id: OrderId::default(),
        })
    }

    fn dispatch_due() -> Input {
        Input::DispatchDue(DispatchDue {
            order_id: OrderId::default(),
        })
    }

    fn after(inputs: impl IntoIterator<Item = Input>) -> Shipment {
        let mut shipment = Shipment::default();
        for input in inputs {
            shipment.step(input, &mut Effects::default());
        }
        shipment
    }

    #[test]
    fn a_cancel_before_the_dispatch_wins() {
        let shipment = after([begin(), cancel(), dispatch_due()]);
        assert_eq!(shipment.status, Status::Cancelled);
    }

    #[test]
    fn a_cancel_after_the_dispatch_is_refused() {
        let shipment = after([begin(), dispatch_due(), cancel()]);
        assert_eq!(shipment.status, Status::Dispatched);
    }

    #[test]
    fn a_cancel_before_the_creation_prevents_the_shipment() {
        let shipment = after([cancel(), begin()]);
        assert_eq!(shipment.status, Status::Cancelled);
    }

    #[test]
    fn a_repeated_start_keeps_the_first_durations() {
        let again = Input::Begin(BeginShipment {
            order_id: OrderId::default(),
            dispatch_after: Duration::ZERO,
            deliver_after: Duration::ZERO,
        });
        let shipment = after([begin(), again]);
        assert_eq!(shipment.deliver_after, Duration::from_secs(3));
    }
}
