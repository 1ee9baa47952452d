//! What inventory does when asked. Everything is idempotent by order.

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
    State, Table, sabotage, schemars,
};

use crate::Config;
use crate::domain::{Change, Reservation, Step, merged};
use crate::shelves::Shelves;
use crate::views::HeldRow;

/// Expired reservations found in one look; the next look finds more.
const EXPIRED_MAX: usize = 200;

/// Ends an order's reservation if it is due. Inventory's own.
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "inventory.expire_reservation", version = 1, key = order_id, internal)]
pub struct ExpireReservation {
    /// The order.
    pub order_id: OrderId,
}

/// Reservations and their rows by expiry, changed together.
pub struct Reservations {
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
    fn put(&self, order_id: OrderId, reservation: Reservation) -> Result<()> {
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

    async fn carry_out(
        &self,
        order_id: OrderId,
        step: Step,
        shelves: &Shelves,
    ) -> Result<Vec<StockLevelChanged>> {
        let levels = match &step.change {
            Some((change, lines)) => shelves.change(order_id, *change, lines).await?,
            None if sabotage::lacks(sabotage::TOMBSTONE) => return Ok(Vec::new()),
            None if step.next == Reservation::Tombstone => Vec::new(),
            None => return Ok(Vec::new()),
        };
        self.put(order_id, step.next)?;
        Ok(levels)
    }
}

/// Holds all lines or none, and repeats its answer.
///
/// # Errors
///
/// The store's, here and below.
pub async fn reserve_stock(
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
    match orders.table.get(&order_id).await? {
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

/// Gives back what the order has.
///
/// # Errors
///
/// The store's.
pub async fn release_stock(
    command: ReleaseStock,
    orders: Reservations,
    shelves: Shelves,
) -> Result<(StockReleased, Vec<StockLevelChanged>)> {
    give_back(command.order_id, &orders, &shelves).await
}

/// Gives back what the order has.
///
/// # Errors
///
/// The store's.
pub async fn restock_order(
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
    let step = Reservation::give_back(orders.table.get(&order_id).await?);
    let levels = orders.carry_out(order_id, step, shelves).await?;
    Ok((StockReleased { order_id }, levels))
}

/// Takes out what is held, or says that nothing is.
///
/// # Errors
///
/// The store's.
pub async fn commit_stock(
    command: CommitStock,
    orders: Reservations,
    shelves: Shelves,
) -> Result<(
    Either<StockCommitted, StockCommitRefused>,
    Vec<StockLevelChanged>,
)> {
    let order_id = command.order_id;
    let step = Reservation::commit(orders.table.get(&order_id).await?);
    let answer = match step.next {
        Reservation::Committed { .. } => Either::Left(StockCommitted { order_id }),
        _ => Either::Right(StockCommitRefused { order_id }),
    };
    let levels = orders.carry_out(order_id, step, &shelves).await?;
    Ok((answer, levels))
}

/// Holds for longer. Needs no answer: the commit will tell.
///
/// # Errors
///
/// The store's.
pub async fn extend_reservation(
    command: ExtendReservation,
    State(config): State<Config>,
    Now(now): Now,
    orders: Reservations,
) -> Result<()> {
    let current = orders.table.get(&command.order_id).await?;
    match Reservation::extend(current, now, config.extend_for) {
        Some(extended) => orders.put(command.order_id, extended),
        None => Ok(()),
    }
}

/// Changes a product's stock, once an adjustment. One that would take what is held is a dead letter:
/// nobody waits for an answer, and it must not vanish.
///
/// # Errors
///
/// The store's, or what is said above.
pub async fn adjust_stock(
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

/// Looks for reservations that are held too long; each is then ended on its own.
///
/// # Errors
///
/// The store's.
pub async fn find_expired(Now(now): Now, reads: Reads) -> Result<Vec<ExpireReservation>> {
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

/// Gives back what an order has held too long. The order learns of it when it commits.
///
/// # Errors
///
/// The store's.
pub async fn expire_reservation(
    command: ExpireReservation,
    Now(now): Now,
    orders: Reservations,
    shelves: Shelves,
) -> Result<Vec<StockLevelChanged>> {
    let order_id = command.order_id;
    let current = orders.table.get(&order_id).await?;
    match Reservation::expire(current, now) {
        Some(step) => {
            debug_assert!(matches!(step.change, Some((Change::Unhold, _))));
            orders.carry_out(order_id, step, &shelves).await
        }
        None => Ok(Vec::new()),
    }
}
