//! The deletion of old sales: their holders, and then the sale. Claims have an expiry of
//! their own.

use shop_contracts::SaleId;
use wingbeat::store::Select;
use wingbeat::{Name, Now, Reads, Result, Rows, Table, Timestamp};

use crate::domain::{FlashHolder, FlashSale, SALES_KEPT, SaleRow};

/// Holders per run. The next run deletes more.
const HOLDERS_MAX: usize = 500;
/// The oldest sales that one run looks at.
const SALES_MAX: usize = 100;

/// Deletes the oldest sale, or some of its holders, once its time has passed.
pub(crate) async fn forget_sales(
    Now(now): Now,
    reads: Reads,
    sales: Table<FlashSale>,
    sale_rows: Rows<SaleRow>,
    holders: Table<FlashHolder>,
    holder_rows: Rows<FlashHolder>,
) -> Result<()> {
    let Some(sale_id) = oldest(&reads, now).await? else {
        return Ok(());
    };
    // A unit that changes a holder changes its sale too. Then this one runs again.
    let _ = sales.get(&sale_id).await?;
    let theirs = Select::Prefix {
        column: Name::new(FlashHolder::CHANGED),
        prefix: FlashHolder::changes_of(sale_id),
        descending: false,
    };
    let page = reads.rows::<FlashHolder>(theirs, None, HOLDERS_MAX).await?;
    for (id, _) in page.rows {
        holders.remove(&id)?;
        holder_rows.remove(id)?;
    }
    if page.next.is_none() {
        sales.remove(&sale_id)?;
        sale_rows.remove(sale_id.to_string())?;
    }
    Ok(())
}

/// Returns the oldest sale that need not be stored any more.
async fn oldest(reads: &Reads, now: Timestamp) -> Result<Option<SaleId>> {
    let until = now - SALES_KEPT;
    let ended = Select::Range {
        column: Name::new(SaleRow::CLOSES_AT),
        from: String::new(),
        until: Some(until.to_string()),
        descending: false,
    };
    let page = reads.rows::<SaleRow>(ended, None, SALES_MAX).await?;
    let mut closed = page.rows.into_iter().filter(|(_, row)| row.closed);
    Ok(closed.find_map(|(key, _)| key.parse().ok()))
}
