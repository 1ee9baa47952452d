//! The event-sourced order. Its status never moves backwards nor leaves a terminal one.

use serde::{Deserialize, Serialize};
use shop_contracts::{Line, Money, OrderId, OrderStatus, RejectReason, UserId};
use wingbeat::ViewRow;
use wingbeat::{Aggregate, Timestamp};

use crate::views::OrderRow;

/// What was ordered. Final when the order is accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// Who ordered.
    pub user_id: UserId,
    /// What, at which price.
    pub lines: Vec<Line>,
    /// The sum of the lines.
    pub subtotal: Money,
    /// What the promo takes off.
    pub discount: Money,
    /// What is to be paid.
    pub total: Money,
    /// When.
    pub at: Timestamp,
}

/// A later change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The status from now on.
    pub status: OrderStatus,
    /// Why, when rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<RejectReason>,
    /// The payment has been unanswered for long.
    #[serde(default)]
    pub payment_delayed: bool,
    /// When.
    pub at: Timestamp,
}

/// What happened to an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderEvent {
    /// It was accepted.
    Placed(Placed),
    /// It moved on.
    Changed(Change),
}

/// What an order can be asked.
#[derive(Clone, Debug)]
pub enum OrderCommand {
    /// Accept it.
    Place(Placed),
    /// Move on. Going back, or on from a terminal status, changes nothing.
    Change(Change),
}

/// An order, as folded from its history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// What was ordered; `None` before.
    pub placed: Option<Placed>,
    /// The last change; `None` while just placed.
    pub last: Option<Change>,
}

/// There is an order of this id already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlreadyPlaced;

/// How far along a status is; changes only go up.
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
    /// Where it stands.
    #[must_use]
    pub fn status(&self) -> OrderStatus {
        self.last
            .as_ref()
            .map_or(OrderStatus::Placed, |last| last.status)
    }

    /// Whether nothing can happen to it any more.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        rank(self.status()) == 6
    }

    fn allows(&self, change: &Change) -> bool {
        let (from, to) = (rank(self.status()), rank(change.status));
        let delayed = self.last.as_ref().is_some_and(|last| last.payment_delayed);
        from < 6 && (to > from || (to == from && delayed != change.payment_delayed))
    }
}

impl Aggregate for Order {
    const NAME: &'static str = "order";
    type Id = OrderId;
    type Command = OrderCommand;
    type Event = OrderEvent;
    type Error = AlreadyPlaced;

    fn decide(&self, command: OrderCommand) -> Result<Vec<OrderEvent>, AlreadyPlaced> {
        match command {
            OrderCommand::Place(_) if self.placed.is_some() => Err(AlreadyPlaced),
            OrderCommand::Place(placed) => Ok(vec![OrderEvent::Placed(placed)]),
            OrderCommand::Change(change) if self.placed.is_some() && self.allows(&change) => {
                Ok(vec![OrderEvent::Changed(change)])
            }
            OrderCommand::Change(_) => Ok(Vec::new()),
        }
    }

    fn apply(&mut self, event: &OrderEvent) {
        match event {
            OrderEvent::Placed(placed) => self.placed = Some(placed.clone()),
            OrderEvent::Changed(change) => self.last = Some(change.clone()),
        }
    }

    fn rows(&self, id: &str) -> Vec<ViewRow> {
        let Some(placed) = &self.placed else {
            return Vec::new();
        };
        let last = self.last.as_ref();
        let row = OrderRow {
            order_id: id.into(),
            user_id: placed.user_id,
            status: self.status(),
            reason: last.and_then(|last| last.reason),
            payment_delayed: last.is_some_and(|last| last.payment_delayed),
            lines: placed.lines.clone(),
            subtotal: placed.subtotal,
            discount: placed.discount,
            total: placed.total,
            placed_at: placed.at,
            updated_at: last.map_or(placed.at, |last| last.at),
        };
        vec![ViewRow::of(id, &row)]
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
        order.apply(&event);
        order
    }

    fn change(order: &mut Order, status: OrderStatus, payment_delayed: bool) -> usize {
        let change = Change {
            status,
            reason: None,
            payment_delayed,
            at: Timestamp::default(),
        };
        let events = order.decide(OrderCommand::Change(change)).unwrap();
        events.iter().for_each(|event| order.apply(event));
        events.len()
    }

    #[test]
    fn a_status_never_moves_backwards() {
        let mut order = placed();
        assert_eq!(change(&mut order, OrderStatus::Paid, false), 1);
        assert_eq!(change(&mut order, OrderStatus::StockReserved, false), 0);
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
                assert_eq!(change(&mut order, next, true), 0);
            }
        }
    }

    #[test]
    fn the_delayed_flag_can_be_set_and_cleared() {
        let mut order = placed();
        change(&mut order, OrderStatus::StockReserved, false);
        assert_eq!(change(&mut order, OrderStatus::StockReserved, true), 1);
        assert_eq!(change(&mut order, OrderStatus::StockReserved, true), 0);
        assert_eq!(change(&mut order, OrderStatus::PaymentAuthorized, false), 1);
    }

    #[test]
    fn an_order_is_placed_once() {
        let order = placed();
        let again = OrderCommand::Place(order.placed.clone().unwrap());
        assert_eq!(order.decide(again), Err(AlreadyPlaced));
    }
}
