//! The handlers that keep the copies of other services' data up to date, and the erasure of a user.
//! They ignore events that are older than the copy.

use shop_contracts::OrderId;
use shop_contracts::carts::CartChanged;
use shop_contracts::catalog::{ProductListed, ProductRetired};
use shop_contracts::identity::UserErased;
use shop_contracts::inventory::{FlashClaimConfirmed, FlashClaimExpired, FlashSaleCreated};
use shop_contracts::promotions::PromoIssued;
use wingbeat::store::Select;
use wingbeat::{Name, Now, Reads, Result, Rows, Subjects, Table};

use crate::copies::{CartCopy, ClaimCopy, KEEP_SALES, ProductCopy, PromoCopy, SaleCopy};
use crate::messages::ScrubAddresses;
use crate::placing::StoredAddress;
use crate::views;

/// Addresses that one unit removes.
const SCRUBBED_MAX: usize = 100;
/// Copies of flash sales that one run deletes. The next run deletes more.
const FORGOTTEN_MAX: usize = 100;

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

/// Stores the copy of a flash sale.
pub(crate) async fn flash_sale_created(
    event: FlashSaleCreated,
    sales: Table<SaleCopy>,
) -> Result<()> {
    let id = event.sale_id;
    sales.put(&id, event.into())
}

/// Deletes the copies of flash sales that ended long ago.
pub(crate) async fn forget_sales(
    Now(now): Now,
    reads: Reads,
    sales: Table<SaleCopy>,
    rows: Rows<SaleCopy>,
) -> Result<()> {
    let until = now - KEEP_SALES;
    let ended = Select::Range {
        column: Name::new(SaleCopy::CLOSES_AT),
        from: String::new(),
        until: Some(until.to_string()),
        descending: false,
    };
    let page = reads.rows::<SaleCopy>(ended, None, FORGOTTEN_MAX).await?;
    for (key, _) in page.rows {
        if let Ok(id) = key.parse() {
            sales.remove(&id)?;
        }
        rows.remove(key)?;
    }
    Ok(())
}

/// Stores the copy of a confirmed claim.
pub(crate) async fn flash_claim_confirmed(
    event: FlashClaimConfirmed,
    claims: Table<ClaimCopy>,
) -> Result<()> {
    let id = event.claim_id;
    let known = claims.get(&id).await?;
    claims.put(&id, ClaimCopy::confirmed(known, event))
}

/// Marks the copy of a claim that has expired.
pub(crate) async fn flash_claim_expired(
    event: FlashClaimExpired,
    claims: Table<ClaimCopy>,
) -> Result<()> {
    let known = claims.get(&event.claim_id).await?;
    claims.put(&event.claim_id, ClaimCopy::expired(known, event.user_id))
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

/// Destroys the key of a user, so that the addresses of the user's orders cannot be read. The
/// orders remain.
pub(crate) async fn user_erased(event: UserErased, subjects: Subjects) -> Result<ScrubAddresses> {
    let user_id = event.user_id;
    subjects.erase(&user_id).await?;
    Ok(ScrubAddresses {
        user_id,
        after: None,
    })
}

/// Removes the addresses of an erased user's orders, a bounded number per unit.
pub(crate) async fn scrub_addresses(
    command: ScrubAddresses,
    reads: Reads,
    addresses: Table<StoredAddress>,
) -> Result<Option<ScrubAddresses>> {
    let ScrubAddresses { user_id, after } = command;
    let orders = views::orders_after(&reads, user_id, after, SCRUBBED_MAX).await?;
    for order in &orders {
        addresses.remove(order)?;
    }
    let last: Option<OrderId> = orders.last().copied();
    Ok(last
        .filter(|_| orders.len() == SCRUBBED_MAX)
        .map(|last| ScrubAddresses {
            user_id,
            after: Some(last),
        }))
}
