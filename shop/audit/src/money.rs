//! Invariants 2 and 3: the money in the payments service and in the provider's ledger.

use shop_contracts::{OrderId, OrderStatus};
use shop_orders::domain::Order;
use shop_payments::domain::{Payment, State};
use wingbeat::Timestamp;

use super::Check;
use super::ledger::Booked;
use super::reserved::GIVEN_BACK_WITHIN;
use super::walk::Known;

/// The checks of both invariants.
pub(super) struct Money {
    once: Check,
    matches: Check,
}

impl Money {
    pub(super) fn new() -> Self {
        Self {
            once: Check::new(
                2,
                "at most one capture an order; the net charge is 0 or its total",
            ),
            matches: Check::new(
                3,
                "captured ⇔ completed, or paid and in flight, or refunded",
            ),
        }
    }

    pub(super) fn into_checks(self) -> [Check; 2] {
        [self.once, self.matches]
    }

    pub(super) fn check(&mut self, id: &OrderId, known: &Known, now: Timestamp) {
        if let Some(booked) = &known.booked {
            self.charged(id, known.order.as_ref(), booked);
        }
        let booked = known.booked.unwrap_or_default();
        self.given_back(id, known, booked, now);
        if let Some(order) = &known.order {
            self.delivered(id, order, booked);
        }
        if let Some(payment) = &known.payment {
            self.recorded(id, payment, booked);
        }
    }

    fn charged(&mut self, id: &OrderId, order: Option<&Order>, booked: &Booked) {
        let check = &mut self.once;
        check.checked += 1;
        let Booked {
            captures,
            captured,
            refunded,
            ..
        } = *booked;
        if captures > 1 {
            check.broken(id, format!("captured {captures} times"));
        }
        if refunded > captured {
            check.broken(
                id,
                format!("{refunded} cents refunded of {captured} captured"),
            );
        }
        let Some(placed) = order.and_then(|order| order.placed.as_ref()) else {
            check.broken(id, "the provider booked an order that does not exist");
            return;
        };
        let (net, total) = (captured - refunded, placed.total.amount_minor);
        if net != 0 && net != total {
            check.broken(id, format!("{net} cents charged for an order of {total}"));
        }
    }

    fn delivered(&mut self, id: &OrderId, order: &Order, booked: Booked) {
        let check = &mut self.matches;
        check.checked += 1;
        let kept = booked.captured > booked.refunded;
        let free = order
            .placed
            .as_ref()
            .is_some_and(|it| it.total.amount_minor == 0);
        match order.status() {
            OrderStatus::Paid | OrderStatus::Shipped | OrderStatus::Completed
                if booked.captures == 0 && !free =>
            {
                check.broken(id, "paid, but the provider captured nothing");
            }
            OrderStatus::Shipped | OrderStatus::Completed if !kept && !free => {
                check.broken(id, "delivered, but refunded");
            }
            OrderStatus::Rejected | OrderStatus::Cancelled if kept => {
                check.broken(id, "ended without delivery, but the money was kept");
            }
            _ => {}
        }
    }

    /// Checks that the hold on the card of an ended order is given back.
    fn given_back(&mut self, id: &OrderId, known: &Known, booked: Booked, now: Timestamp) {
        if !booked.holds() {
            return;
        }
        let ended = known.order.as_ref().filter(|order| order.is_ended());
        let ended_at = ended
            .and_then(|order| order.last.as_ref())
            .map(|last| last.at);
        let state = known.payment.as_ref().map(|payment| payment.state);
        if state == Some(State::Voided) {
            let detail = "payments recorded a void, and the provider still holds the amount";
            self.matches.broken(id, detail);
        } else if ended_at.is_some_and(|at| now.since(at) > GIVEN_BACK_WITHIN) {
            let detail = "ended an hour ago, and the provider still holds the amount";
            self.matches.broken(id, detail);
        }
    }

    /// Checks that payments records no amount that the provider did not book.
    fn recorded(&mut self, id: &OrderId, payment: &Payment, booked: Booked) {
        let check = &mut self.matches;
        check.checked += 1;
        let (took, gave) = (payment.captured.amount_minor, payment.refunded.amount_minor);
        if took > booked.captured || gave > booked.refunded {
            let detail = format!(
                "payments recorded {took} taken and {gave} paid back, the provider {} and {}",
                booked.captured, booked.refunded
            );
            check.broken(id, detail);
        }
    }
}
