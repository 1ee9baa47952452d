//! Stock and its ledger, changed together: no unit on hand comes or goes without a row that says why.

use shop_contracts::inventory::StockLevelChanged;
use shop_contracts::{OrderId, Sku};
use wingbeat::{Extract, Now, Reads, Result, Rows, Scope, Table, sabotage};

use crate::domain::{BelowReserved, Change, Stock};
use crate::views::LedgerRow;

/// The stock of all products, through this unit of work.
pub struct Shelves {
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

/// Why what is on hand changes.
struct Cause {
    reason: String,
    order_id: Option<OrderId>,
}

impl Shelves {
    async fn get(&self, sku: &Sku) -> Result<Stock> {
        Ok(self.stock.get(sku).await?.unwrap_or_default())
    }

    /// Holds all lines, each SKU once, or none: then the first SKU of which there is not enough.
    ///
    /// # Errors
    ///
    /// The store's, here and below.
    pub async fn hold(&self, lines: &[(Sku, u32)]) -> Result<Result<Vec<StockLevelChanged>, Sku>> {
        let mut held = Vec::with_capacity(lines.len());
        for (sku, quantity) in lines {
            match self.held(sku, *quantity).await? {
                Some(stock) => held.push((sku, stock)),
                None => return Ok(Err(sku.clone())),
            }
        }
        let mut levels = Vec::with_capacity(held.len());
        for (sku, stock) in held {
            levels.push(level(sku, stock));
            self.stock.put(sku, stock)?;
        }
        Ok(Ok(levels))
    }

    /// The stock when so much more is held; `None` when there is not enough.
    async fn held(&self, sku: &Sku, quantity: u32) -> Result<Option<Stock>> {
        if !sabotage::lacks(sabotage::STOCK_CHECK) {
            return Ok(self.get(sku).await?.hold(quantity));
        }
        // Checked in one read, taken in another.
        let seen = self.reads.entity::<Stock>(sku).await?.unwrap_or_default();
        if seen.hold(quantity).is_none() {
            return Ok(None);
        }
        let stock = self.get(sku).await?;
        let (reserved, version) = (stock.reserved + i64::from(quantity), stock.version + 1);
        Ok(Some(Stock {
            reserved,
            version,
            ..stock
        }))
    }

    /// Changes the stock of an order's lines; tells the levels that are different now.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn change(
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
            levels.extend(self.put(sku, before, after, cause)?);
        }
        Ok(levels)
    }

    /// Adds to a product's stock, or takes away.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn adjust(
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
        self.put(sku, before, after, cause).map(Ok)
    }

    fn put(
        &self,
        sku: &Sku,
        before: Stock,
        after: Stock,
        cause: Cause,
    ) -> Result<Option<StockLevelChanged>> {
        self.stock.put(sku, after)?;
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
}

fn level(sku: &Sku, stock: Stock) -> StockLevelChanged {
    StockLevelChanged {
        sku: sku.clone(),
        available: stock.available(),
        version: stock.version,
    }
}
