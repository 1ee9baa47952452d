//! Invariant 11: what was reserved for an order that has ended was used or given back: its stock,
//! its promo and its unit of a flash sale. Invariant 3 checks the hold on the card.

use std::time::Duration;

use shop_contracts::OrderId;
use shop_orders::domain::Order;
use wingbeat::run::RunningSystem;
use wingbeat::{Reads, Result, Timestamp};

use super::{Check, VIOLATIONS_MAX};

/// The time within which each service gives back what it has reserved for an ended order, also over
/// an outage that is worth an alert.
pub(super) const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(3_600);

/// A reservation, and the order that has it.
type Reserved = (&'static str, OrderId);

pub(super) async fn check(system: &RunningSystem) -> Result<Check> {
    let mut check = Check::new(11, "what an ended order reserved was used or given back");
    let (orders, now) = (system.reads("orders")?, system.ports.runtime.now());
    for (what, order_id) in reserved(system).await? {
        check.checked += 1;
        if is_overdue(&orders, &order_id, now).await? {
            let detail = format!("ended an hour ago, and its {what} is still reserved");
            check.broken(order_id, detail);
        }
    }
    Ok(check)
}

/// Returns what is reserved at this moment. Only orders on their way have reservations, so these
/// are few, however many orders there were.
async fn reserved(system: &RunningSystem) -> Result<Vec<Reserved>> {
    let inventory = system.reads("inventory")?;
    let stock = shop_inventory::audit::reserving(&inventory).await?;
    let claims = shop_inventory::flash_audit::ordering(&inventory).await?;
    let promos = shop_promotions::audit::reserving(&system.reads("promotions")?).await?;
    let all = [("stock", stock), ("flash claim", claims), ("promo", promos)];
    let all = all.into_iter().flat_map(|(what, orders)| {
        let of = move |order| (what, order);
        orders.into_iter().map(of)
    });
    Ok(all.take(VIOLATIONS_MAX).collect())
}

/// Returns whether an order has ended long ago, or does not exist.
async fn is_overdue(orders: &Reads, id: &OrderId, now: Timestamp) -> Result<bool> {
    let Some(order) = orders.aggregate::<Order>(id).await? else {
        return Ok(true); // A reservation is requested by the unit that stores the order, or later.
    };
    let ended = order.last.as_ref().filter(|_| order.is_ended());
    Ok(ended.is_some_and(|last| now.since(last.at) > GIVEN_BACK_WITHIN))
}
