//! The handlers of other services' messages.

use shop_contracts::inventory::StockLevelChanged;
use wingbeat::{Result, Scope, State, Table};

use crate::ReadCache;
use crate::domain::Product;

/// Updates the number of units that can be sold, and invalidates the cached reads of the product.
///
/// The invalidation runs before the unit commits: a page that is loaded in between is stale until
/// it expires.
pub(crate) async fn stock_level_changed(
    event: StockLevelChanged,
    State(cache): State<ReadCache>,
    products: Table<Product>,
    scope: Scope,
) -> Result<()> {
    let known = products.get(&event.sku).await?.unwrap_or_default();
    let Some(product) = known.stocked(event.available, event.version) else {
        return Ok(());
    };
    let is_listed = product.sold().is_some();
    products.put(&event.sku, product)?;
    if is_listed {
        cache.invalidate(&scope, &event.sku).await;
    }
    Ok(())
}
