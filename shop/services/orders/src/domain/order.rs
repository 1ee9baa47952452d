//! The event-sourced order. Its status never moves backwards and never leaves a terminal one.

use serde::{Deserialize, Serialize};
use shop_contracts::{Line, Money, OrderStatus, RejectReason, UserId};
use wingbeat::{JsonSchema, Timestamp, schemars};

/// The content of an order. It is final once the order is accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Placed {
    /// The owner.
    pub user_id: UserId,
    /// The products, quantities and prices.
    pub lines: Vec<Line>,
    /// The sum of the lines.
    pub subtotal: Money,
    /// The discount of the promo.
    pub discount: Money,
    /// The amount to be paid.
    pub total: Money,
    /// The time of the acceptance.
    pub at: Timestamp,
}

/// A change of an accepted order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// The new status.
    pub status: OrderStatus,
    /// The reason of a rejection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<RejectReason>,
    /// `true` if the authorization of the payment is delayed.
    #[serde(default)]
    pub payment_delayed: bool,
    /// The time of the change.
    pub at: Timestamp,
}

/// An event of an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OrderEvent {
    /// The order was accepted.
    Placed(Placed),
    /// The order changed.
    Changed(Change),
}

/// A command to an order.
#[derive(Clone, Debug)]
pub enum OrderCommand {
    /// Accepts the order.
    Place(Placed),
    /// Changes the order. A change that moves backwards or leaves a terminal status has no effect.
    Change(Change),
}

/// The state of an order, folded from its history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Order {
    /// The content; `None` before the order is accepted.
    pub placed: Option<Placed>,
    /// The last change; `None` before the first.
    pub last: Option<Change>,
}

/// A refusal: an order with this id exists already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlreadyPlaced;

/// Returns the rank of a status. A change never lowers it.
fn rank(status: OrderStatus) -> u8 {
    match status {
        OrderStatus::Placed => 0,
        OrderStatus::StockReserved => 1,
        OrderStatus::PaymentAuthorized => 2,
        OrderStatus::Paid => 3,
        OrderStatus::Cancelling => 4,
        OrderStatus::Shipped => 5,
        OrderStatus::Completed | OrderStatus::Rejected | OrderStatus::Cancelled => 6,
    }
}

impl Order {
    /// Returns the status.
    #[must_use]
    pub fn status(&self) -> OrderStatus {
        self.last
            .as_ref()
            .map_or(OrderStatus::Placed, |last| last.status)
    }

    /// Returns whether the status is terminal.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        rank(self.status()) == 6
    }

    /// Accepts the order.
    ///
    /// # Errors
    ///
    /// [`AlreadyPlaced`] if it is accepted already.
    pub fn place(&self, placed: Placed) -> Result<OrderEvent, AlreadyPlaced> {
        if self.placed.is_some() {
            return Err(AlreadyPlaced);
        }
        Ok(OrderEvent::Placed(placed))
    }

    /// Changes the status. Returns `None` for a change that moves backwards or leaves a terminal
    /// status.
    #[must_use]
    pub fn change(&self, change: Change) -> Option<OrderEvent> {
        (self.placed.is_some() && self.allows(&change)).then_some(OrderEvent::Changed(change))
    }

    /// Evolves the state by an event.
    pub fn evolve(&mut self, event: &OrderEvent) {
        match event {
            OrderEvent::Placed(placed) => self.placed = Some(placed.clone()),
            OrderEvent::Changed(change) => self.last = Some(change.clone()),
        }
    }

    fn allows(&self, change: &Change) -> bool {
        let (from, to) = (rank(self.status()), rank(change.status));
        let delayed = self.last.as_ref().is_some_and(|last| last.payment_delayed);
        from < 6 && (to > from || (to == from && delayed != change.payment_delayed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placed() -> Order {
        let mut order = Order::default();
        let event = OrderEvent::Placed(Placed {
            user_id: UserId::from(uuid::Uuid::nil()),
            lines: vec![],
            subtotal: Money::eur(0),
            discount: Money::eur(0),
            total: Money::eur(0),
            at: Timestamp::default(),
        });
        order.evolve(&event);
        order
    }

    fn change(order: &mut Order, status: OrderStatus, payment_delayed: bool) -> bool {
        let change = Change {
            status,
            reason: None,
            payment_delayed,
            at: Timestamp::default(),
        };
        let event = order.change(change);
        event.iter().for_each(|event| order.evolve(event));
        event.is_some()
    }

    #[test]
    fn a_status_never_moves_backwards() {
        let mut order = placed();
        assert!(change(&mut order, OrderStatus::Paid, false));
        assert!(!change(&mut order, OrderStatus::StockReserved, false));
        assert_eq!(order.status(), OrderStatus::Paid);
    }

    #[test]
    fn a_terminal_status_is_never_left() {
        for end in [
            OrderStatus::Completed,
            OrderStatus::Rejected,
            OrderStatus::Cancelled,
        ] {
            let mut order = placed();
            change(&mut order, end, false);
            for next in [
                OrderStatus::Completed,
                OrderStatus::Rejected,
                OrderStatus::Cancelled,
                OrderStatus::Paid,
            ] {
                assert!(!change(&mut order, next, true));
            }
        }
    }

    #[test]
    fn the_delayed_flag_can_be_set_and_cleared() {
        let mut order = placed();
        change(&mut order, OrderStatus::StockReserved, false);
        assert!(change(&mut order, OrderStatus::StockReserved, true));
        assert!(!change(&mut order, OrderStatus::StockReserved, true));
        assert!(change(&mut order, OrderStatus::PaymentAuthorized, false));
    }

    #[test]
    fn an_order_is_placed_once() {
        let order = placed();
        let again = order.placed.clone().unwrap();
        assert_eq!(order.place(again), Err(AlreadyPlaced));
    }
}
