//! The handlers without one mechanism, for negative controls. Compiled only with the feature
//! `sabotage`.
//!
//! Each function decorates the handler of the same name.

use shop_contracts::inventory::{
    CommitStock, ReleaseStock, ReserveStock, RestockOrder, StockCommitRefused, StockCommitted,
    StockLevelChanged, StockRejected, StockReleased, StockReserved,
};
use shop_contracts::{Lines, OrderId};
use wingbeat::{Either, Now, Reads, Result, State, Table};
use wingbeat_core::sabotage::{CLAIM_CHECK, STOCK_CHECK, TOMBSTONE, lacks};

use crate::Config;
use crate::domain::{ClaimStatus, Reservation, Stock, merged};
use crate::flash::draining::{self, Rules};
use crate::flash::{Decided, OpenSales, Units};
use crate::handlers::{self, Reservations};
use crate::shelves::{Shelves, level};

pub(crate) use crate::handlers::{
    adjust_stock, expire_reservation, extend_reservation, find_expired,
};

/// Reserves all lines or none. Without the stock check, the check reads other data than the unit
/// writes.
pub(crate) async fn reserve_stock(
    command: ReserveStock,
    State(config): State<Config>,
    Now(now): Now,
    orders: Reservations,
    shelves: Shelves,
    stock: Table<Stock>,
    reads: Reads,
) -> Result<(Either<StockReserved, StockRejected>, Vec<StockLevelChanged>)> {
    let order_id = command.order_id;
    let lines = merged(command.lines.clone());
    let is_first = orders.get(order_id).await?.is_none();
    if !lacks(STOCK_CHECK) || !is_first || !seemed_enough(&reads, &lines).await? {
        return handlers::reserve_stock(command, State(config), Now(now), orders, shelves).await;
    }
    let mut levels = Vec::with_capacity(lines.len());
    for (sku, quantity) in &lines {
        let before = stock.get(sku).await?.unwrap_or_default();
        let after = Stock {
            reserved: before.reserved + i64::from(*quantity),
            version: before.version + 1,
            ..before
        };
        stock.put(sku, after)?;
        levels.push(level(sku, after));
    }
    let expires_at = now + config.hold_for;
    orders.put(order_id, Reservation::Held { lines, expires_at })?;
    Ok((Either::Left(StockReserved { order_id }), levels))
}

/// Returns whether there is enough stock of all lines, in reads that the unit does not validate.
async fn seemed_enough(reads: &Reads, lines: &Lines) -> Result<bool> {
    for (sku, quantity) in lines {
        let stock = reads.entity::<Stock>(sku).await?.unwrap_or_default();
        if stock.hold(*quantity).is_none() {
            return Ok(false);
        }
    }
    Ok(!lines.is_empty())
}

/// Returns whether the handler would leave a tombstone that the negative control omits.
async fn forgets(orders: &Reservations, order_id: OrderId) -> Result<bool> {
    Ok(lacks(TOMBSTONE) && orders.get(order_id).await?.is_none())
}

/// Releases the order's reservation. Without tombstones, a release before the reservation is
/// forgotten.
pub(crate) async fn release_stock(
    command: ReleaseStock,
    orders: Reservations,
    shelves: Shelves,
) -> Result<(StockReleased, Vec<StockLevelChanged>)> {
    let order_id = command.order_id;
    if forgets(&orders, order_id).await? {
        return Ok((StockReleased { order_id }, Vec::new()));
    }
    handlers::release_stock(command, orders, shelves).await
}

/// Puts the order's units back. Without tombstones, a command before the reservation is forgotten.
pub(crate) async fn restock_order(
    command: RestockOrder,
    orders: Reservations,
    shelves: Shelves,
) -> Result<(StockReleased, Vec<StockLevelChanged>)> {
    let order_id = command.order_id;
    if forgets(&orders, order_id).await? {
        return Ok((StockReleased { order_id }, Vec::new()));
    }
    handlers::restock_order(command, orders, shelves).await
}

/// Commits the order's reservation. Without tombstones, a commit before the reservation is
/// forgotten.
pub(crate) async fn commit_stock(
    command: CommitStock,
    orders: Reservations,
    shelves: Shelves,
) -> Result<(
    Either<StockCommitted, StockCommitRefused>,
    Vec<StockLevelChanged>,
)> {
    let order_id = command.order_id;
    if forgets(&orders, order_id).await? {
        return Ok((Either::Right(StockCommitRefused { order_id }), Vec::new()));
    }
    handlers::commit_stock(command, orders, shelves).await
}

/// Decides on the claims that wait. Without the claim check, every claim that the cache has granted
/// gets a unit, and the cache counts from the allocation.
pub(crate) async fn drain_claims(
    State(open): State<OpenSales>,
    now: Now,
    reads: Reads,
    units: Units,
) -> Result<Decided> {
    if !lacks(CLAIM_CHECK) {
        return draining::drain_claims(State(open), now, reads, units).await;
    }
    let rules = Rules {
        decide: |_, _, _, _| ClaimStatus::Confirmed,
        free: |sale| sale.terms.allocation,
    };
    draining::drain(&open, now, &reads, &units, rules).await
}
