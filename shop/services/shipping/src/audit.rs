//! Reads of open shipments, for the invariants of `shop audit`.

use shop_contracts::OrderId;
use wingbeat::{Reads, Result, Timestamp};

use crate::domain::Status;
use crate::shipment::Shipment;

/// Records per read.
const PAGE: usize = 1_000;

/// A shipment that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The order.
    pub order_id: OrderId,
    /// The status.
    pub status: Status,
    /// The pending timers. The invariant holds if there is at least one.
    pub timers: Vec<String>,
    /// The time of the last change.
    pub updated_at: Timestamp,
}

/// Returns every shipment that has not ended.
///
/// # Errors
///
/// A `store_*` code if the store cannot be read.
pub async fn open(reads: &Reads) -> Result<Vec<Open>> {
    let mut open = Vec::new();
    let mut after = None;
    loop {
        let page = reads.sagas::<Shipment>(after, PAGE).await?;
        after = page.last().map(|(id, _)| id.clone());
        for (id, saga) in page {
            if let (false, Ok(order_id)) = (saga.ended, id.parse()) {
                open.push(Open {
                    order_id,
                    status: saga.state.status,
                    timers: saga.timers,
                    updated_at: saga.updated_at,
                });
            }
        }
        if after.is_none() {
            return Ok(open);
        }
    }
}
