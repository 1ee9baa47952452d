//! Invariants 2 and 3: the money in the payments service and in the provider's ledger.

use std::collections::BTreeMap;

use shop_contracts::{OrderId, OrderStatus};
use shop_orders::domain::Order;
use shop_payments::domain::Payment;
use wingbeat::Result;

use super::ledger::Booked;
use super::{Check, PAGE};
use wingbeat::run::RunningSystem;

pub(super) async fn check(
    system: &RunningSystem,
    orders: &BTreeMap<OrderId, Order>,
    ledger: &BTreeMap<OrderId, Booked>,
) -> Result<[Check; 2]> {
    let once = charges(orders, ledger);
    let mut matches = delivered(orders, ledger);
    compare_payments(system, ledger, &mut matches).await?;
    Ok([once, matches])
}

fn charges(orders: &BTreeMap<OrderId, Order>, ledger: &BTreeMap<OrderId, Booked>) -> Check {
    let mut check = Check::new(
        2,
        "at most one capture an order; the net charge is 0 or its total",
    );
    for (id, booked) in ledger {
        check.checked += 1;
        let Booked {
            captures,
            captured,
            refunded,
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
        let order = orders.get(id).and_then(|order| order.placed.as_ref());
        let Some(placed) = order else {
            check.broken(id, "the provider booked an order that does not exist");
            continue;
        };
        let (net, total) = (captured - refunded, placed.total.amount_minor);
        if net != 0 && net != total {
            check.broken(id, format!("{net} cents charged for an order of {total}"));
        }
    }
    check
}

fn delivered(orders: &BTreeMap<OrderId, Order>, ledger: &BTreeMap<OrderId, Booked>) -> Check {
    let mut check = Check::new(
        3,
        "captured ⇔ completed, or paid and in flight, or refunded",
    );
    for (id, order) in orders {
        check.checked += 1;
        let booked = ledger.get(id).copied().unwrap_or_default();
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
    check
}

/// Checks that payments records no amount that the provider did not book.
async fn compare_payments(
    system: &RunningSystem,
    ledger: &BTreeMap<OrderId, Booked>,
    check: &mut Check,
) -> Result<()> {
    let reads = system.reads("payments")?;
    let mut after = None;
    loop {
        let page = reads.entities::<Payment>(after, PAGE).await?;
        after = page.last().map(|(id, _)| id.clone());
        for (id, payment) in page {
            let Ok(order) = id.parse::<OrderId>() else {
                continue;
            };
            check.checked += 1;
            let booked = ledger.get(&order).copied().unwrap_or_default();
            let (took, gave) = (payment.captured.amount_minor, payment.refunded.amount_minor);
            if took > booked.captured || gave > booked.refunded {
                let detail = format!(
                    "payments recorded {took} taken and {gave} paid back, the provider {} and {}",
                    booked.captured, booked.refunded
                );
                check.broken(order, detail);
            }
        }
        if after.is_none() {
            return Ok(());
        }
    }
}
