//! The shipment of an order, as a saga: it keeps the times, the domain says what may follow what.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use shop_contracts::OrderId;
use shop_contracts::shipping::{
    CancelShipment, ShipmentCancelRefused, ShipmentCancelled, ShipmentCreated, ShipmentDelivered,
    ShipmentDispatched,
};
use wingbeat::{Command, Event, JsonSchema, Late, Saga, SagaEffects, SagaInput, schemars};

use crate::domain::Status;

/// Starts the saga. Shipping's own.
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "shipping.begin_shipment", version = 1, key = order_id, internal)]
pub struct BeginShipment {
    /// The order.
    pub order_id: OrderId,
    /// From now to the dispatch.
    pub dispatch_after: Duration,
    /// From the dispatch to the delivery.
    pub deliver_after: Duration,
}

/// The time to dispatch has come.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "shipping.dispatch_due", version = 1, key = order_id)]
pub struct DispatchDue {
    /// The order.
    pub order_id: OrderId,
}

/// The time of arrival has come.
#[derive(Event, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[event(name = "shipping.deliver_due", version = 1, key = order_id)]
pub struct DeliverDue {
    /// The order.
    pub order_id: OrderId,
}

/// What a shipment reacts to.
#[derive(SagaInput, Debug)]
pub enum Input {
    /// Send it.
    #[saga(start)]
    Begin(BeginShipment),
    /// Do not send it. Starts the saga too: that is the tombstone for a late [`Input::Begin`].
    #[saga(start)]
    Cancel(CancelShipment),
    /// See [`DispatchDue`].
    #[saga(timer)]
    DispatchDue(DispatchDue),
    /// See [`DeliverDue`].
    #[saga(timer)]
    DeliverDue(DeliverDue),
}

type Asked = SagaEffects<Input>;

/// A shipment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shipment {
    /// Where it stands.
    pub status: Status,
    /// From the dispatch to the delivery.
    pub deliver_after: Duration,
}

impl Saga for Shipment {
    const NAME: &'static str = "shipment";
    type Input = Input;

    fn step(&mut self, input: Input, effects: &mut Asked) {
        match input {
            Input::Begin(begin) => self.begin(&begin, effects),
            Input::Cancel(CancelShipment { order_id }) => self.cancel(order_id, effects),
            Input::DispatchDue(DispatchDue { order_id }) => self.dispatch(order_id, effects),
            Input::DeliverDue(DeliverDue { order_id }) => self.deliver(order_id, effects),
        }
    }

    /// After its end a shipment repeats its answers; timers that were under way mean nothing.
    fn late(&mut self, _when: Late, input: Input, effects: &mut Asked) {
        match input {
            Input::Begin(begin) => self.confirm(begin.order_id, effects),
            Input::Cancel(CancelShipment { order_id }) => self.answer_cancel(order_id, effects),
            Input::DispatchDue(_) | Input::DeliverDue(_) => {}
        }
    }
}

impl Shipment {
    fn begin(&mut self, begin: &BeginShipment, effects: &mut Asked) {
        let order_id = begin.order_id;
        if self.status == Status::New {
            self.deliver_after = begin.deliver_after;
            effects.after(begin.dispatch_after, &DispatchDue { order_id });
        }
        self.status = self.status.create();
        self.confirm(order_id, effects);
    }

    fn cancel(&mut self, order_id: OrderId, effects: &mut Asked) {
        if let Ok(cancelled) = self.status.cancel() {
            self.status = cancelled;
            effects.end();
        }
        self.answer_cancel(order_id, effects);
    }

    fn dispatch(&mut self, order_id: OrderId, effects: &mut Asked) {
        if let Some(dispatched) = self.status.dispatch() {
            self.status = dispatched;
            effects.publish(&ShipmentDispatched { order_id });
            effects.after(self.deliver_after, &DeliverDue { order_id });
        }
    }

    fn deliver(&mut self, order_id: OrderId, effects: &mut Asked) {
        if let Some(delivered) = self.status.deliver() {
            self.status = delivered;
            effects.publish(&ShipmentDelivered { order_id }).end();
        }
    }

    /// Answers "send it": all that has happened since, for the asker may have missed any of it.
    fn confirm(&self, order_id: OrderId, effects: &mut Asked) {
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

    fn answer_cancel(&self, order_id: OrderId, effects: &mut Asked) {
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
            shipment.step(input, &mut Asked::default());
        }
        shipment
    }

    #[test]
    fn a_cancel_before_dispatch_wins() {
        let shipment = after([begin(), cancel(), dispatch_due()]);
        assert_eq!(shipment.status, Status::Cancelled);
    }

    #[test]
    fn a_cancel_after_dispatch_loses() {
        let shipment = after([begin(), dispatch_due(), cancel()]);
        assert_eq!(shipment.status, Status::Dispatched);
    }

    #[test]
    fn a_cancel_that_comes_first_refuses_the_shipment() {
        let shipment = after([cancel(), begin()]);
        assert_eq!(shipment.status, Status::Cancelled);
    }

    #[test]
    fn a_repeated_start_keeps_the_first_times() {
        let again = Input::Begin(BeginShipment {
            order_id: OrderId::default(),
            dispatch_after: Duration::ZERO,
            deliver_after: Duration::ZERO,
        });
        let shipment = after([begin(), again]);
        assert_eq!(shipment.deliver_after, Duration::from_secs(3));
    }
}
