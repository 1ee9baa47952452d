//! Checks that a completed order has passed each status, as the feed of its owner tells.

use std::collections::BTreeMap;

use shop_contracts::{OrderId, OrderStatus};
use shop_orders::domain::Order;
use shop_orders::feed::FeedRow;
use wingbeat::Result;
use wingbeat::run::RunningSystem;
use wingbeat::store::Select;
use wingbeat::test::Violation;

const NAME: &str = "a completed order has passed each status";

/// Rows per read.
const PAGE: usize = 500;

/// The statuses of a completed order.
const ALL: [OrderStatus; 6] = [
    OrderStatus::Placed,
    OrderStatus::StockReserved,
    OrderStatus::PaymentAuthorized,
    OrderStatus::Paid,
    OrderStatus::Shipped,
    OrderStatus::Completed,
];

/// Returns the completed orders that have skipped a status.
pub(super) async fn check(
    system: &RunningSystem,
    orders: &BTreeMap<OrderId, Order>,
) -> Result<Vec<Violation>> {
    let reads = system.reads("orders")?;
    let mut passed = BTreeMap::<OrderId, Vec<OrderStatus>>::new();
    let mut after = None;
    loop {
        let page = reads.rows::<FeedRow>(Select::All, after, PAGE).await?;
        for (_, row) in page.rows {
            passed.entry(row.order_id).or_default().push(row.status);
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let completed = orders.iter();
    let completed = completed.filter(|(_, order)| order.status() == OrderStatus::Completed);
    let wrong = completed.filter_map(|(id, _)| {
        let passed = passed.get(id).map(Vec::as_slice).unwrap_or_default();
        let detail = format!("{passed:?}");
        (!is_whole(passed)).then(|| Violation::new(NAME, id, detail))
    });
    Ok(wrong.collect())
}

/// Returns whether an order has passed each status. While it waits for the bank, it tells so with
/// the same status once more; and a cancel may have come too late.
fn is_whole(passed: &[OrderStatus]) -> bool {
    let passed = passed.iter().copied();
    let mut passed: Vec<_> = passed.filter(|it| *it != OrderStatus::Cancelling).collect();
    passed.dedup();
    passed == ALL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_that_skips_a_status_is_not_whole() {
        assert!(is_whole(&ALL));
        for skipped in 0..ALL.len() {
            let mut passed = ALL.to_vec();
            let status = passed.remove(skipped);
            assert!(!is_whole(&passed), "without {status:?}");
        }
    }

    #[test]
    fn an_order_that_goes_back_is_not_whole() {
        for at in 1..ALL.len() {
            let mut passed = ALL.to_vec();
            passed.swap(at - 1, at);
            assert!(!is_whole(&passed), "{passed:?}");
        }
    }

    #[test]
    fn an_order_may_wait_for_the_bank_and_be_cancelled_too_late() {
        let mut passed = ALL.to_vec();
        passed.insert(2, OrderStatus::StockReserved);
        passed.insert(5, OrderStatus::Cancelling);
        assert!(is_whole(&passed), "{passed:?}");
    }
}
