//! The handlers that keep the copies of other services' data up to date. They ignore events that
//! are older than the copy.

use shop_contracts::carts::CartChanged;
use shop_contracts::catalog::{ProductListed, ProductRetired};
use shop_contracts::promotions::PromoIssued;
use wingbeat::{Result, Table};

use crate::copies::{CartCopy, ProductCopy, PromoCopy};

/// Replaces the copy of a product that was listed, renamed or repriced.
pub(crate) async fn product_listed(
    event: ProductListed,
    products: Table<ProductCopy>,
) -> Result<()> {
    let known = products.get(&event.sku).await?;
    if known.is_some_and(|known| known.version >= event.version) {
        return Ok(());
    }
    let copy = ProductCopy {
        name: event.name,
        price: event.price.into(),
        retired: false,
        version: event.version,
    };
    products.put(&event.sku, copy)
}

/// Marks the copy of a retired product. A retirement that overtakes the listing is stored too.
pub(crate) async fn product_retired(
    event: ProductRetired,
    products: Table<ProductCopy>,
) -> Result<()> {
    let known = products.get(&event.sku).await?;
    if known
        .as_ref()
        .is_some_and(|known| known.version >= event.version)
    {
        return Ok(());
    }
    let copy = ProductCopy {
        name: known
            .as_ref()
            .map(|known| known.name.clone())
            .unwrap_or_default(),
        price: known.map(|known| known.price).unwrap_or_default(),
        retired: true,
        version: event.version,
    };
    products.put(&event.sku, copy)
}

/// Updates the copy of a cart.
pub(crate) async fn cart_changed(event: CartChanged, carts: Table<CartCopy>) -> Result<()> {
    let user_id = event.user_id;
    let mut cart = carts.get(&user_id).await?.unwrap_or_default();
    cart.changed(event);
    carts.put(&user_id, cart)
}

/// Stores the copy of an issued promo.
pub(crate) async fn promo_issued(event: PromoIssued, promos: Table<PromoCopy>) -> Result<()> {
    let PromoIssued {
        user_id,
        code,
        percent,
        expires_at,
    } = event;
    promos.put(
        &code,
        PromoCopy {
            user_id,
            percent,
            expires_at,
        },
    )
}
