//! The handlers of other services' events.

use shop_contracts::carts::{CartChanged, CartOpened};
use shop_contracts::catalog::{ProductListed, ProductRetired};
use shop_contracts::identity::{UserErased, UserRegistered};
use shop_contracts::orders::OrderPlaced;
use wingbeat::{Result, Table};

use crate::domain::Cart;
use crate::products::Product;

/// Opens the cart of a new user, unless the user's first change has opened it already.
pub(crate) async fn user_registered(
    event: UserRegistered,
    carts: Table<Cart>,
) -> Result<Option<CartOpened>> {
    let user_id = event.user_id;
    if carts.get(&user_id).await?.is_some() {
        return Ok(None);
    }
    carts.put(&user_id, Cart::default())?;
    Ok(Some(CartOpened { user_id }))
}

/// Updates the copy of a product that was listed, renamed or repriced.
pub(crate) async fn product_listed(event: ProductListed, products: Table<Product>) -> Result<()> {
    let sku = event.sku.clone();
    let known = products.get(&sku).await?;
    match Product::listed(known.as_ref(), event) {
        Some(product) => products.put(&sku, product),
        None => Ok(()),
    }
}

/// Marks the copy of a retired product.
pub(crate) async fn product_retired(event: ProductRetired, products: Table<Product>) -> Result<()> {
    let known = products.get(&event.sku).await?;
    match Product::retired(known.as_ref(), &event) {
        Some(product) => products.put(&event.sku, product),
        None => Ok(()),
    }
}

/// Removes the bought quantities from the cart. The event is published even if nothing was left to
/// remove, because orders waits for it.
pub(crate) async fn order_placed(
    event: OrderPlaced,
    carts: Table<Cart>,
) -> Result<Option<CartChanged>> {
    if !event.from_cart {
        return Ok(None);
    }
    let bought: Vec<_> = event
        .lines
        .into_iter()
        .map(|line| (line.sku, line.quantity))
        .collect();
    let user_id = event.user_id;
    let cart = carts.get(&user_id).await?.unwrap_or_default();
    let cart = cart.bought(&bought);
    carts.put(&user_id, cart.clone())?;
    Ok(Some(CartChanged {
        user_id,
        version: cart.version,
        lines: cart.lines,
        order_id: Some(event.order_id),
    }))
}

/// Empties the cart of an erased user.
pub(crate) async fn user_erased(
    event: UserErased,
    carts: Table<Cart>,
) -> Result<Option<CartChanged>> {
    let user_id = event.user_id;
    let Some(cart) = carts
        .get(&user_id)
        .await?
        .filter(|cart| !cart.lines.is_empty())
    else {
        return Ok(None);
    };
    let cart = cart.emptied();
    carts.put(&user_id, cart.clone())?;
    Ok(Some(CartChanged {
        user_id,
        version: cart.version,
        lines: cart.lines,
        order_id: None,
    }))
}
