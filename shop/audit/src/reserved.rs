//! Invariant 11: what was reserved for an order that has ended was used or given back: its stock,
//! its promo and its unit of a flash sale. Invariant 3 checks the hold on the card.

use std::time::Duration;

use shop_contracts::OrderId;
use shop_orders::domain::Order;
use wingbeat::run::RunningSystem;
use wingbeat::{Result, Timestamp};

use super::{Check, VIOLATIONS_MAX};

/// The time within which each service gives back what it has reserved for an ended order, also over
/// an outage that is worth an alert.
pub(super) const GIVEN_BACK_WITHIN: Duration = Duration::from_secs(3_600);

/// A reservation for an order: stock, a promo or a unit of a flash sale.
struct Reserved {
    what: &'static str,
    order_id: OrderId,
    /// The time at which its service gives it back by itself, if it does.
    expires_at: Option<Timestamp>,
}

pub(super) async fn check(system: &RunningSystem) -> Result<Check> {
    let mut check = Check::new(11, "what an ended order reserved was used or given back");
    let (orders, now) = (system.reads("orders")?, system.ports.runtime.now());
    for reserved in reserved(system).await? {
        check.checked += 1;
        let order = orders.aggregate::<Order>(&reserved.order_id).await?;
        if reserved.is_overdue(order.as_ref(), now) {
            let detail = format!(
                "ended an hour ago, and its {} is still reserved",
                reserved.what
            );
            check.broken(reserved.order_id, detail);
        }
    }
    Ok(check)
}

/// Returns what is reserved at this moment. Only orders on their way have reservations, so these
/// are few, however many orders there were.
async fn reserved(system: &RunningSystem) -> Result<Vec<Reserved>> {
    let inventory = system.reads("inventory")?;
    let mut all = Vec::new();
    for (order_id, expires_at) in shop_inventory::audit::reserving(&inventory).await? {
        all.push(Reserved {
            what: "stock",
            order_id,
            expires_at: Some(expires_at),
        });
    }
    let claims = shop_inventory::flash_audit::ordering(&inventory).await?;
    let promos = shop_promotions::audit::reserving(&system.reads("promotions")?).await?;
    for (what, orders) in [("flash claim", claims), ("promo", promos)] {
        all.extend(orders.into_iter().map(|order_id| Reserved {
            what,
            order_id,
            expires_at: None,
        }));
    }
    all.truncate(VIOLATIONS_MAX);
    Ok(all)
}

impl Reserved {
    /// Returns whether its order has ended long ago, or does not exist.
    ///
    /// Stock can also be reserved by a program that is not part of this shop, such as a till. Its
    /// orders are unknown here, and what it reserves is given back when the reservation expires.
    fn is_overdue(&self, order: Option<&Order>, now: Timestamp) -> bool {
        let due = match order {
            Some(order) => {
                let ended = order.last.as_ref().filter(|_| order.is_ended());
                ended.map(|last| last.at)
            }
            None => Some(self.expires_at.unwrap_or_default()),
        };
        due.is_some_and(|at| now.since(at) > GIVEN_BACK_WITHIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reserved_for_an_unknown_order_is_overdue_after_it_expired() {
        let expires_at = Timestamp::from_millis(1_000_000);
        let of = |expires_at| Reserved {
            what: "stock",
            order_id: OrderId::from(uuid::Uuid::nil()),
            expires_at,
        };
        let after = |millis| expires_at + GIVEN_BACK_WITHIN + Duration::from_millis(millis);
        assert!(!of(Some(expires_at)).is_overdue(None, after(0)));
        assert!(of(Some(expires_at)).is_overdue(None, after(1)));
        // Only orders of this shop have promos and claims.
        assert!(of(None).is_overdue(None, after(0)));
    }
}
