//! The service's own copies of the catalogue's prices, for flash sales without a price of their
//! own.

use serde::{Deserialize, Serialize};
use shop_contracts::catalog::ProductListed;
use shop_contracts::{Price, Sku};
use wingbeat::{Entity, JsonSchema, Result, Table, schemars};

/// A copy of the price of a product, built from the catalogue's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PriceCopy {
    /// The price of one unit.
    pub price: Price,
    /// The catalogue's version; an older event is ignored.
    pub version: u64,
}

impl Entity for PriceCopy {
    const NAME: &'static str = "price_copy";
    type Id = Sku;
}

/// Replaces the copy of the price of a product that was listed, renamed or repriced.
pub(crate) async fn product_listed(event: ProductListed, prices: Table<PriceCopy>) -> Result<()> {
    let known = prices.get(&event.sku).await?;
    if known.is_some_and(|known| known.version >= event.version) {
        return Ok(());
    }
    let ProductListed { price, version, .. } = event;
    prices.put(&event.sku, PriceCopy { price, version })
}
