//! The stock and its ledger, which change in one unit: each change of the units on hand has a row
//! with its reason. Rows that are old are folded into one.

use std::time::Duration;

use shop_contracts::inventory::StockLevelChanged;
use shop_contracts::{OrderId, Sku};
use wingbeat::store::{Position, Select};
use wingbeat::{Extract, Now, Reads, Result, Rows, Scope, Table};

use crate::domain::{BelowReserved, Change, Stock};
use crate::views::LedgerRow;

/// The time for which the ledger keeps each change.
const LEDGER_KEPT: Duration = Duration::from_secs(90 * 24 * 3600);
/// The changes of a product's stock between two folds of its ledger.
const FOLD_EVERY: u64 = 128;
/// The rows that one fold takes: more than are written between two of them.
const FOLDED_MAX: usize = 256;
/// The reason of a row that stands for older ones.
const CARRIED: &str = "carried forward";

/// The stock of all products, within one unit of work.
pub(crate) struct Shelves {
    stock: Table<Stock>,
    ledger: Rows<LedgerRow>,
    reads: Reads,
    now: Now,
}

impl<S> Extract<Scope, S> for Shelves {
    fn extract(scope: &Scope, state: &S) -> Result<Self> {
        Ok(Self {
            stock: Extract::extract(scope, state)?,
            ledger: Extract::extract(scope, state)?,
            reads: Extract::extract(scope, state)?,
            now: Extract::extract(scope, state)?,
        })
    }
}

/// The reason of a change of the units on hand.
struct Cause {
    reason: String,
    order_id: Option<OrderId>,
}

impl Shelves {
    async fn get(&self, sku: &Sku) -> Result<Stock> {
        Ok(self.stock.get(sku).await?.unwrap_or_default())
    }

    /// Reserves all lines or none. Returns the changed levels, or the first SKU that is out of
    /// stock.
    ///
    /// Each SKU must occur once.
    pub(crate) async fn hold(
        &self,
        lines: &[(Sku, u32)],
    ) -> Result<Result<Vec<StockLevelChanged>, Sku>> {
        let mut held = Vec::with_capacity(lines.len());
        for (sku, quantity) in lines {
            match self.get(sku).await?.hold(*quantity) {
                Some(stock) => held.push((sku, stock)),
                None => return Ok(Err(sku.clone())),
            }
        }
        let mut levels = Vec::with_capacity(held.len());
        for (sku, stock) in held {
            levels.push(level(sku, stock));
            self.store(sku, stock).await?;
        }
        Ok(Ok(levels))
    }

    /// Applies a change to the stock of an order's lines. Returns the levels that differ
    /// afterwards.
    pub(crate) async fn change(
        &self,
        order_id: OrderId,
        change: Change,
        lines: &[(Sku, u32)],
    ) -> Result<Vec<StockLevelChanged>> {
        let mut levels = Vec::new();
        for (sku, quantity) in lines {
            let before = self.get(sku).await?;
            let (after, reason) = match change {
                Change::Unhold => (before.unhold(*quantity), "released"),
                Change::TakeOut => (before.take_out(*quantity), "committed"),
                Change::PutBack => (before.put_back(*quantity), "restocked"),
            };
            let cause = Cause {
                reason: reason.into(),
                order_id: Some(order_id),
            };
            levels.extend(self.put(sku, before, after, cause).await?);
        }
        Ok(levels)
    }

    /// Adds `delta` units to a product's stock. Returns the level if it changed, or the refusal.
    pub(crate) async fn adjust(
        &self,
        sku: &Sku,
        delta: i64,
        reason: String,
    ) -> Result<Result<Option<StockLevelChanged>, BelowReserved>> {
        let before = self.get(sku).await?;
        let after = match before.adjust(delta) {
            Ok(after) => after,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let cause = Cause {
            reason,
            order_id: None,
        };
        self.put(sku, before, after, cause).await.map(Ok)
    }

    /// Moves available units out of a product's stock. Returns the level, or `None` if fewer are
    /// available.
    pub(crate) async fn move_out(
        &self,
        sku: &Sku,
        units: u32,
        reason: String,
    ) -> Result<Option<StockLevelChanged>> {
        let before = self.get(sku).await?;
        let cause = Cause {
            reason,
            order_id: None,
        };
        match before.hold(units) {
            Some(held) => self.put(sku, before, held.take_out(units), cause).await,
            None => Ok(None),
        }
    }

    /// Puts units that were moved out back into a product's stock. Returns the level if it changed.
    pub(crate) async fn bring_back(
        &self,
        sku: &Sku,
        units: u32,
        reason: String,
        order_id: Option<OrderId>,
    ) -> Result<Option<StockLevelChanged>> {
        if units == 0 {
            return Ok(None);
        }
        let before = self.get(sku).await?;
        let cause = Cause { reason, order_id };
        self.put(sku, before, before.put_back(units), cause).await
    }

    async fn put(
        &self,
        sku: &Sku,
        before: Stock,
        after: Stock,
        cause: Cause,
    ) -> Result<Option<StockLevelChanged>> {
        self.store(sku, after).await?;
        let delta = after.on_hand - before.on_hand;
        if delta != 0 {
            let row = LedgerRow {
                sku: sku.clone(),
                delta,
                reason: cause.reason,
                order_id: cause.order_id,
                at: self.now.0,
            };
            self.ledger.put(LedgerRow::key(sku, after.version), &row)?;
        }
        Ok((after.available() != before.available()).then(|| level(sku, after)))
    }

    async fn store(&self, sku: &Sku, stock: Stock) -> Result<()> {
        self.stock.put(sku, stock)?;
        if stock.version.is_multiple_of(FOLD_EVERY) {
            self.fold(sku).await?;
        }
        Ok(())
    }

    /// Replaces old rows of a product by one with their sum.
    ///
    /// Folds of one product are in the order of its stock's changes. Each takes the oldest rows, so
    /// a fold that does not see an earlier one yet takes the rows of that one, too.
    async fn fold(&self, sku: &Sku) -> Result<()> {
        let before_first = Position {
            value: String::new(),
            key: format!("{sku}/"),
        };
        let oldest = self
            .reads
            .rows::<LedgerRow>(Select::All, Some(before_first), FOLDED_MAX);
        let until = self.now.0 - LEDGER_KEPT;
        let rows = oldest.await?.rows.into_iter();
        let old = rows.take_while(|(_, row)| row.sku == *sku && row.at < until);
        let old: Vec<(String, LedgerRow)> = old.collect();
        let Some(((key, newest), others)) = old.split_last().filter(|(_, it)| !it.is_empty())
        else {
            return Ok(());
        };
        for (key, _) in others {
            self.ledger.remove(key.as_str())?;
        }
        let carried = LedgerRow {
            delta: old.iter().map(|(_, row)| row.delta).sum(),
            reason: CARRIED.into(),
            order_id: None,
            ..newest.clone()
        };
        self.ledger.put(key.as_str(), &carried)
    }
}

pub(crate) fn level(sku: &Sku, stock: Stock) -> StockLevelChanged {
    StockLevelChanged {
        sku: sku.clone(),
        available: stock.available(),
        version: stock.version,
    }
}
