//! Invariants 4 and 5: every order ends, and every open one has a pending timer.

use std::time::Duration;

use shop_contracts::{OrderId, OrderStatus};
use wingbeat::{Result, Timestamp};

use super::Check;
use super::walk::{Known, Saga};
use wingbeat::run::RunningSystem;

/// The age at which an open order counts as stuck: the longest wait for a payment, and one more
/// hour before and after it.
const LIMIT: Duration = Duration::from_secs(26 * 3600);
/// The delay after which an overdue timer counts as lost.
const OVERDUE: Duration = Duration::from_secs(120);
/// The age that a saga needs to be checked: the timer of a younger one may be missing in a page
/// that was read earlier.
const FRESH: Duration = Duration::from_secs(5);

/// The checks of both invariants.
pub(super) struct Lifecycle {
    now: Timestamp,
    ends: Check,
    waiting: Check,
}

impl Lifecycle {
    pub(super) fn new(now: Timestamp) -> Self {
        Self {
            now,
            ends: Check::new(
                4,
                "every accepted order reaches exactly one terminal state in time",
            ),
            waiting: Check::new(5, "no saga that has not ended is without a pending timer"),
        }
    }

    pub(super) fn into_checks(self) -> [Check; 2] {
        [self.ends, self.waiting]
    }

    pub(super) fn check(&mut self, id: &OrderId, known: &Known) {
        if let Some(saga) = &known.saga {
            self.waits(id, saga);
        }
        let Some(order) = &known.order else { return };
        let ends = &mut self.ends;
        ends.checked += 1;
        let Some(placed) = &order.placed else {
            ends.broken(id, "an order without its placement");
            return;
        };
        if !order.is_ended() && self.now.since(placed.at) > LIMIT {
            ends.broken(id, format!("still {:?} after its limit", order.status()));
        }
        let saga_ended = known.saga.as_ref().map(|saga| saga.ended);
        if !order.is_ended() && saga_ended == Some(true) {
            ends.broken(
                id,
                format!("its checkout has ended, but it is {:?}", order.status()),
            );
        }
        let undone = matches!(
            order.status(),
            OrderStatus::Completed | OrderStatus::Cancelled
        );
        if undone && saga_ended == Some(false) {
            ends.broken(id, "it has ended, but its checkout goes on");
        }
    }

    fn waits(&mut self, id: &OrderId, saga: &Saga) {
        let check = &mut self.waiting;
        check.checked += 1;
        if saga.ended || self.now.since(saga.updated_at) < FRESH {
            return;
        }
        if saga.timers.is_empty() {
            check.broken(id, "it waits without a timer");
        }
        for (timer, due) in &saga.timers {
            match due {
                None => check.broken(id, format!("its timer {timer} is gone")),
                Some(due) if self.now.since(*due) > OVERDUE => {
                    check.broken(id, format!("its timer {timer} was never fired"));
                }
                Some(_) => {}
            }
        }
    }

    /// Checks the shipments that have not ended.
    pub(super) async fn shipments(&mut self, system: &RunningSystem) -> Result<()> {
        for open in shop_shipping::audit::open(&system.reads("shipping")?).await? {
            self.waiting.checked += 1;
            if open.timers.is_empty() && self.now.since(open.updated_at) >= FRESH {
                let detail = "its shipment waits without a timer";
                self.waiting.broken(open.order_id, detail);
            }
        }
        Ok(())
    }
}
