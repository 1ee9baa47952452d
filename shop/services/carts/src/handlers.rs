//! What carts does when told.

use shop_contracts::carts::{CartChanged, CartOpened};
use shop_contracts::catalog::{ProductListed, ProductRetired};
use shop_contracts::identity::UserRegistered;
use shop_contracts::orders::OrderPlaced;
use wingbeat::{Result, Table};

use crate::domain::Cart;
use crate::products::Product;

/// Opens a new user's cart, unless they have touched it already.
///
/// # Errors
///
/// The store's, here and below.
pub async fn user_registered(
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

/// A product is for sale, or was renamed or repriced.
///
/// # Errors
///
/// The store's.
pub async fn product_listed(event: ProductListed, products: Table<Product>) -> Result<()> {
    let sku = event.sku.clone();
    let known = products.get(&sku).await?;
    match Product::listed(known.as_ref(), event) {
        Some(product) => products.put(&sku, product),
        None => Ok(()),
    }
}

/// A product is not sold any more.
///
/// # Errors
///
/// The store's.
pub async fn product_retired(event: ProductRetired, products: Table<Product>) -> Result<()> {
    let known = products.get(&event.sku).await?;
    match Product::retired(known.as_ref(), &event) {
        Some(product) => products.put(&event.sku, product),
        None => Ok(()),
    }
}

/// Takes out of the cart what was bought with it. Tells also when nothing was left to take: orders
/// waits to hear that its purchase is out of the cart.
///
/// # Errors
///
/// The store's.
pub async fn order_placed(event: OrderPlaced, carts: Table<Cart>) -> Result<Option<CartChanged>> {
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
