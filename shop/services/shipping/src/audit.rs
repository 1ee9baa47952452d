//! What the audit compares.

use shop_contracts::OrderId;
use wingbeat::{Reads, Result, Timestamp};

use crate::domain::Status;
use crate::shipment::Shipment;

/// Records read at once.
const PAGE: usize = 1_000;

/// A shipment that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// The order.
    pub order_id: OrderId,
    /// Where it stands.
    pub status: Status,
    /// What it waits for. All holds when there is something.
    pub timers: Vec<String>,
    /// Since when.
    pub updated_at: Timestamp,
}

/// Every shipment that has not ended.
///
/// # Errors
///
/// The store's.
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
