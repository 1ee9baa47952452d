//! Copies of what others own, kept up to date by their events. Older news than what is known is ignored.

use shop_contracts::carts::CartChanged;
use shop_contracts::catalog::{ProductListed, ProductRetired};
use shop_contracts::promotions::PromoIssued;
use wingbeat::{Result, Table};

use crate::views::{CartCopy, ProductCopy, PromoCopy};

/// A product is for sale, or was renamed or repriced: the event tells all of it.
///
/// # Errors
///
/// The store's, here and below.
pub async fn product_listed(event: ProductListed, products: Table<ProductCopy>) -> Result<()> {
    let known = products.get(&event.sku).await?;
    if known.is_some_and(|known| known.version >= event.version) {
        return Ok(());
    }
    let copy = ProductCopy {
        name: event.name,
        price: event.price,
        retired: false,
        version: event.version,
    };
    products.put(&event.sku, copy)
}

/// A product is not sold any more. Remembered also where its listing has not come yet.
///
/// # Errors
///
/// The store's.
pub async fn product_retired(event: ProductRetired, products: Table<ProductCopy>) -> Result<()> {
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

/// A cart's content changed.
///
/// # Errors
///
/// The store's.
pub async fn cart_changed(event: CartChanged, carts: Table<CartCopy>) -> Result<()> {
    let user_id = event.user_id;
    let mut cart = carts.get(&user_id).await?.unwrap_or_default();
    cart.changed(event);
    carts.put(&user_id, cart)
}

/// A user may use a code once.
///
/// # Errors
///
/// The store's.
pub async fn promo_issued(event: PromoIssued, promos: Table<PromoCopy>) -> Result<()> {
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
