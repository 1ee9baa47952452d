//! Copies of what others own, kept up to date by their events. Older news than what is known is ignored.

use shop_contracts::carts::CartChanged;
use shop_contracts::catalog::{PriceChanged, ProductListed, ProductRetired};
use shop_contracts::promotions::PromoIssued;
use wingbeat::{Result, Table};

use crate::views::{CartCopy, ProductCopy, PromoCopy};

/// A product is for sale, or was renamed or repriced.
///
/// # Errors
///
/// The store's, here and below.
pub async fn product_listed(event: ProductListed, products: Table<ProductCopy>) -> Result<()> {
    let known = products.get(&event.sku).await?;
    if known.is_none_or(|known| known.version < event.version) {
        let ProductListed {
            sku,
            name,
            price,
            version,
        } = event;
        products.put(
            &sku,
            ProductCopy {
                name,
                price,
                retired: false,
                version,
            },
        )?;
    }
    Ok(())
}

/// A price changed.
///
/// # Errors
///
/// The store's.
pub async fn price_changed(event: PriceChanged, products: Table<ProductCopy>) -> Result<()> {
    match products.get(&event.sku).await? {
        Some(known) if known.version < event.version => products.put(
            &event.sku,
            ProductCopy {
                price: event.price,
                version: event.version,
                ..known
            },
        ),
        _ => Ok(()),
    }
}

/// A product is not sold any more.
///
/// # Errors
///
/// The store's.
pub async fn product_retired(event: ProductRetired, products: Table<ProductCopy>) -> Result<()> {
    match products.get(&event.sku).await? {
        Some(known) if known.version < event.version => products.put(
            &event.sku,
            ProductCopy {
                retired: true,
                version: event.version,
                ..known
            },
        ),
        _ => Ok(()),
    }
}

/// A cart's content changed.
///
/// # Errors
///
/// The store's.
pub async fn cart_changed(event: CartChanged, carts: Table<CartCopy>) -> Result<()> {
    let known = carts.get(&event.user_id).await?.unwrap_or_default();
    if known.version < event.version {
        carts.put(
            &event.user_id,
            CartCopy {
                lines: event.lines,
                version: event.version,
            },
        )?;
    }
    Ok(())
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
