//! Invariants 4 and 5: every order ends, and every open one has a pending timer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use shop_contracts::{OrderId, OrderStatus};
use shop_orders::checkout::Checkout;
use shop_orders::domain::Order;
use wingbeat::{Result, Timestamp};

use super::{Check, PAGE};
use wingbeat::run::RunningSystem;

/// The age at which an open order counts as stuck: the longest wait for a payment, and one more
/// hour before and after it.
const LIMIT: Duration = Duration::from_secs(26 * 3600);
/// The delay after which an overdue timer counts as lost.
const OVERDUE: Duration = Duration::from_secs(120);
/// The age that a saga needs to be checked: the timer of a younger one may be missing in a page
/// that was read earlier.
const FRESH: Duration = Duration::from_secs(5);

/// Returns every order.
pub(super) async fn orders(system: &RunningSystem) -> Result<BTreeMap<OrderId, Order>> {
    let reads = system.reads("orders")?;
    let (mut orders, mut after) = (BTreeMap::new(), None);
    loop {
        let page = reads.aggregates::<Order>(after, PAGE).await?;
        after = page.last().map(|(id, _)| id.clone());
        for (id, order) in page {
            orders.extend(id.parse::<OrderId>().map(|id| (id, order)));
        }
        if after.is_none() {
            return Ok(orders);
        }
    }
}

pub(super) async fn check(
    system: &RunningSystem,
    orders: &BTreeMap<OrderId, Order>,
) -> Result<[Check; 2]> {
    let now = system.ports.runtime.now();
    let (alive, ended, waiting) = sagas(system, now).await?;
    let mut ends = Check::new(
        4,
        "every accepted order reaches exactly one terminal state in time",
    );
    for (id, order) in orders {
        ends.checked += 1;
        let Some(placed) = &order.placed else {
            ends.broken(id, "an order without its placement");
            continue;
        };
        if !order.is_ended() && now.since(placed.at) > LIMIT {
            ends.broken(id, format!("still {:?} after its limit", order.status()));
        }
        if !order.is_ended() && ended.contains(id) {
            ends.broken(
                id,
                format!("its checkout has ended, but it is {:?}", order.status()),
            );
        }
        let undone = matches!(
            order.status(),
            OrderStatus::Completed | OrderStatus::Cancelled
        );
        if undone && alive.contains(id) {
            ends.broken(id, "it has ended, but its checkout goes on");
        }
    }
    Ok([ends, waiting])
}

/// Returns the orders with an open checkout, those with an ended one, and the violations of sagas.
async fn sagas(
    system: &RunningSystem,
    now: Timestamp,
) -> Result<(BTreeSet<OrderId>, BTreeSet<OrderId>, Check)> {
    let mut check = Check::new(5, "no saga that has not ended is without a pending timer");
    let (mut alive, mut ended) = (BTreeSet::new(), BTreeSet::new());
    let reads = system.reads("orders")?;
    let mut after = None;
    loop {
        let page = reads.sagas::<Checkout>(after, PAGE).await?;
        after = page.last().map(|(id, _)| id.clone());
        for (id, saga) in page {
            check.checked += 1;
            let Ok(order) = id.parse::<OrderId>() else {
                continue;
            };
            if saga.ended {
                ended.insert(order);
                continue;
            }
            alive.insert(order);
            if now.since(saga.updated_at) < FRESH {
                continue;
            }
            if saga.timers.is_empty() {
                check.broken(&id, "it waits without a timer");
            }
            for timer in &saga.timers {
                match reads.timer_due::<Checkout>(&id, timer).await? {
                    None => check.broken(&id, format!("its timer {timer} is gone")),
                    Some(due) if now.since(due) > OVERDUE => {
                        check.broken(&id, format!("its timer {timer} was never fired"));
                    }
                    Some(_) => {}
                }
            }
        }
        if after.is_none() {
            break;
        }
    }
    for open in shop_shipping::audit::open(&system.reads("shipping")?).await? {
        check.checked += 1;
        if open.timers.is_empty() && now.since(open.updated_at) >= FRESH {
            check.broken(open.order_id, "its shipment waits without a timer");
        }
    }
    Ok((alive, ended, check))
}
