//! Reads of all carts and products, for the invariants of `shop audit`.

use std::collections::BTreeMap;

use shop_contracts::UserId;
use wingbeat::{Reads, Result};

use crate::domain::Cart;
use crate::products::Product;

/// Entities per read.
const PAGE: usize = 1_000;

/// Returns the next users who have a cart in the order of their ids, which begin after `after`;
/// none after the last one.
///
/// # Errors
///
/// A `store_*` code if the store cannot be read.
pub async fn owners(reads: &Reads, after: Option<String>) -> Result<Vec<String>> {
    let page = reads.entities::<Cart>(after, PAGE).await?;
    Ok(page.into_iter().map(|(id, _)| id).collect())
}

/// Returns whether a user has a cart.
///
/// # Errors
///
/// A `store_*` code if the store cannot be read.
pub async fn has_cart(reads: &Reads, user: UserId) -> Result<bool> {
    Ok(reads.entity::<Cart>(&user).await?.is_some())
}

/// Returns whether a user has nothing in the cart, or no cart.
///
/// # Errors
///
/// A `store_*` code if the store cannot be read.
pub async fn is_empty(reads: &Reads, user: UserId) -> Result<bool> {
    let cart = reads.entity::<Cart>(&user).await?;
    Ok(cart.is_none_or(|cart| cart.lines.is_empty()))
}

/// Returns the copy of every product, by SKU.
///
/// # Errors
///
/// A `store_*` code if the store cannot be read.
pub async fn products(reads: &Reads) -> Result<BTreeMap<String, Product>> {
    let mut products = BTreeMap::new();
    let mut after = None;
    loop {
        let page = reads.entities::<Product>(after, PAGE).await?;
        after = page.last().map(|(id, _)| id.clone());
        products.extend(page);
        if after.is_none() {
            return Ok(products);
        }
    }
}
