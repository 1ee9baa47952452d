//! What inventory tells.

use shop_contracts::inventory::StockLevelChanged;
use wingbeat::{Result, Scope, State, Table};

use crate::Shelf;
use crate::domain::Product;

/// Shows how many can be sold. What is cached is forgotten here, a moment before the change is durable;
/// a page that is loaded in that moment lives on until it expires.
///
/// # Errors
///
/// The store's.
pub async fn stock_level_changed(
    event: StockLevelChanged,
    State(shelf): State<Shelf>,
    products: Table<Product>,
    scope: Scope,
) -> Result<()> {
    let known = products.get(&event.sku).await?.unwrap_or_default();
    let Some(product) = known.stocked(event.available, event.version) else {
        return Ok(());
    };
    let listed = product.sold().is_some();
    products.put(&event.sku, product)?;
    if listed {
        shelf.forget(&scope, &event.sku).await;
    }
    Ok(())
}
