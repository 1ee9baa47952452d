//! Reads of all carts and products, for the invariants of `shop audit`.

use std::collections::{BTreeMap, BTreeSet};

use shop_contracts::UserId;
use wingbeat::{Reads, Result};

use crate::domain::Cart;
use crate::products::Product;

/// Entities per read.
const PAGE: usize = 1_000;

/// Returns the users who have a cart.
///
/// # Errors
///
/// A `store_*` code if the store cannot be read.
pub async fn owners(reads: &Reads) -> Result<BTreeSet<UserId>> {
    let (mut owners, mut after) = (BTreeSet::new(), None);
    loop {
        let page = reads.entities::<Cart>(after, PAGE).await?;
        after = page.last().map(|(id, _)| id.clone());
        owners.extend(page.iter().filter_map(|(id, _)| id.parse::<UserId>().ok()));
        if after.is_none() {
            return Ok(owners);
        }
    }
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
