//! The message handlers. Each is idempotent, by order or by adjustment.

use serde::{Deserialize, Serialize};
use shop_contracts::OrderId;
use shop_contracts::inventory::{
    AdjustStock, CommitStock, ExtendReservation, ReleaseStock, ReserveStock, RestockOrder,
    StockCommitRefused, StockCommitted, StockLevelChanged, StockRejected, StockReleased,
    StockReserved,
};
use wingbeat::store::Select;
use wingbeat::{
    Claims, Command, Either, Error, Extract, JsonSchema, Name, Now, Reads, Result, Rows, Scope,
    State, Table, schemars,
};

use crate::Config;
use crate::domain::{Change, Reservation, Step, merged};
use crate::shelves::Shelves;
use crate::views::HeldRow;

/// Expired reservations per scan. The next scan finds the rest.
const EXPIRED_MAX: usize = 200;

/// Releases an order's reservation if it has expired. The command is private to inventory.
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "inventory.expire_reservation", version = 1, key = order_id, internal)]
pub(crate) struct ExpireReservation {
    order_id: OrderId,
}

/// The reservations and their rows by expiry, which change in one unit.
pub(crate) struct Reservations {
    table: Table<Reservation>,
    held: Rows<HeldRow>,
}

impl<S> Extract<Scope, S> for Reservations {
    fn extract(scope: &Scope, state: &S) -> Result<Self> {
        Ok(Self {
            table: Extract::extract(scope, state)?,
            held: Extract::extract(scope, state)?,
        })
    }
}

impl Reservations {
    /// Returns an order's reservation, or `None`.
    pub(crate) async fn get(&self, order_id: OrderId) -> Result<Option<Reservation>> {
        self.table.get(&order_id).await
    }

    /// Stores a reservation.
    pub(crate) fn put(&self, order_id: OrderId, reservation: Reservation) -> Result<()> {
        let key = order_id.to_string();
        match &reservation {
            Reservation::Held { expires_at, .. } => {
                let expires_at = *expires_at;
                self.held.put(
                    key,
                    &HeldRow {
                        order_id,
                        expires_at,
                    },
                )?;
            }
            _ => self.held.remove(key)?,
        }
        self.table.put(&order_id, reservation)
    }

    /// Applies a step to the stock and stores the reservation that it leaves.
    async fn apply(
        &self,
        order_id: OrderId,
        step: Step,
        shelves: &Shelves,
    ) -> Result<Vec<StockLevelChanged>> {
        let levels = match &step.change {
            Some((change, lines)) => shelves.change(order_id, *change, lines).await?,
            None if step.next == Reservation::Tombstone => Vec::new(),
            None => return Ok(Vec::new()),
        };
        self.put(order_id, step.next)?;
        Ok(levels)
    }
}

/// Reserves all lines or none. A repeated command gets the recorded reply.
pub(crate) async fn reserve_stock(
    command: ReserveStock,
    State(config): State<Config>,
    Now(now): Now,
    orders: Reservations,
    shelves: Shelves,
) -> Result<(Either<StockReserved, StockRejected>, Vec<StockLevelChanged>)> {
    let order_id = command.order_id;
    let reserved = Either::Left(StockReserved { order_id });
    let rejected = |sku| Either::Right(StockRejected { order_id, sku });
    let lines = merged(command.lines);
    let Some(first) = lines.first().map(|(sku, _)| sku.clone()) else {
        return Err(Error::reject("no_lines", "an order has at least one line"));
    };
    match orders.get(order_id).await? {
        None => {}
        Some(Reservation::Held { .. } | Reservation::Committed { .. }) => {
            return Ok((reserved, vec![]));
        }
        Some(Reservation::Rejected { sku }) => return Ok((rejected(sku), vec![])),
        Some(_) => return Ok((rejected(first), vec![])),
    }
    match shelves.hold(&lines).await? {
        Ok(levels) => {
            let expires_at = now + config.hold_for;
            orders.put(order_id, Reservation::Held { lines, expires_at })?;
            Ok((reserved, levels))
        }
        Err(sku) => {
            let refusal = Reservation::Rejected { sku: sku.clone() };
            orders.table.put(&order_id, refusal)?;
            Ok((rejected(sku), vec![]))
        }
    }
}

/// Releases the order's reservation, or puts its committed units back.
pub(crate) async fn release_stock(
    command: ReleaseStock,
    orders: Reservations,
    shelves: Shelves,
) -> Result<(StockReleased, Vec<StockLevelChanged>)> {
    give_back(command.order_id, &orders, &shelves).await
}

/// Puts the order's committed units back, or releases its reservation.
pub(crate) async fn restock_order(
    command: RestockOrder,
    orders: Reservations,
    shelves: Shelves,
) -> Result<(StockReleased, Vec<StockLevelChanged>)> {
    give_back(command.order_id, &orders, &shelves).await
}

async fn give_back(
    order_id: OrderId,
    orders: &Reservations,
    shelves: &Shelves,
) -> Result<(StockReleased, Vec<StockLevelChanged>)> {
    let step = Reservation::give_back(orders.get(order_id).await?);
    let levels = orders.apply(order_id, step, shelves).await?;
    Ok((StockReleased { order_id }, levels))
}

/// Commits the order's reservation. The reply is a refusal if nothing is reserved.
pub(crate) async fn commit_stock(
    command: CommitStock,
    orders: Reservations,
    shelves: Shelves,
) -> Result<(
    Either<StockCommitted, StockCommitRefused>,
    Vec<StockLevelChanged>,
)> {
    let order_id = command.order_id;
    let step = Reservation::commit(orders.get(order_id).await?);
    let answer = match step.next {
        Reservation::Committed { .. } => Either::Left(StockCommitted { order_id }),
        _ => Either::Right(StockCommitRefused { order_id }),
    };
    let levels = orders.apply(order_id, step, &shelves).await?;
    Ok((answer, levels))
}

/// Extends the order's reservation. There is no reply, because the commit reports whether it was
/// still reserved.
pub(crate) async fn extend_reservation(
    command: ExtendReservation,
    State(config): State<Config>,
    Now(now): Now,
    orders: Reservations,
) -> Result<()> {
    let current = orders.get(command.order_id).await?;
    match Reservation::extend(current, now, config.extend_for) {
        Some(extended) => orders.put(command.order_id, extended),
        None => Ok(()),
    }
}

/// Adjusts a product's stock, once per adjustment.
///
/// An adjustment that would take reserved units is dead-lettered: nobody waits for a reply, and it
/// must not get lost.
pub(crate) async fn adjust_stock(
    command: AdjustStock,
    claims: Claims,
    shelves: Shelves,
) -> Result<Option<StockLevelChanged>> {
    let id = command.adjustment_id.to_string();
    if claims.owner("adjustment", &id).await?.is_some() {
        return Ok(None);
    }
    claims
        .claim("adjustment", &id, command.sku.as_str())
        .await?;
    shelves
        .adjust(&command.sku, command.delta, command.reason)
        .await?
        .map_err(|refusal| Error::reject("below_reserved", refusal.to_string()))
}

/// Finds expired reservations and sends a command for each, so that each is released in a unit of
/// its own.
pub(crate) async fn find_expired(Now(now): Now, reads: Reads) -> Result<Vec<ExpireReservation>> {
    let by_expiry = Select::Prefix {
        column: Name::new(HeldRow::EXPIRES_AT),
        prefix: String::new(),
        descending: false,
    };
    let soonest = reads.rows::<HeldRow>(by_expiry, None, EXPIRED_MAX).await?;
    let rows = soonest.rows.into_iter().map(|(_, row)| row);
    Ok(rows
        .take_while(|row| row.expires_at <= now)
        .map(|HeldRow { order_id, .. }| ExpireReservation { order_id })
        .collect())
}

/// Releases an expired reservation. The checkout notices when its commit is refused.
pub(crate) async fn expire_reservation(
    command: ExpireReservation,
    Now(now): Now,
    orders: Reservations,
    shelves: Shelves,
) -> Result<Vec<StockLevelChanged>> {
    let order_id = command.order_id;
    let current = orders.get(order_id).await?;
    match Reservation::expire(current, now) {
        Some(step) => {
            debug_assert!(matches!(step.change, Some((Change::Unhold, _))));
            orders.apply(order_id, step, &shelves).await
        }
        None => Ok(Vec::new()),
    }
}
