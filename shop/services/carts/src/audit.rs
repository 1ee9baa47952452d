//! What the audit compares.

use std::collections::BTreeMap;

use wingbeat::{Reads, Result};

use crate::domain::Cart;
use crate::products::Product;

/// Entities read at once.
const PAGE: usize = 1_000;

/// Every cart, by user.
///
/// # Errors
///
/// The store's, here and below.
pub async fn carts(reads: &Reads) -> Result<BTreeMap<String, Cart>> {
    let mut carts = BTreeMap::new();
    let mut after = None;
    loop {
        let page = reads.entities::<Cart>(after, PAGE).await?;
        after = page.last().map(|(id, _)| id.clone());
        carts.extend(page);
        if after.is_none() {
            return Ok(carts);
        }
    }
}

/// Every product that the catalogue told of, by SKU.
///
/// # Errors
///
/// The store's.
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
