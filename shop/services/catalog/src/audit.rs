//! Reads of the whole catalogue, for the invariants of `shop audit`.

use std::collections::BTreeMap;

use wingbeat::store::Select;
use wingbeat::{Reads, Result};

use crate::domain::Product;
use crate::views::ProductRow;

/// Entities or rows per read.
const PAGE: usize = 1_000;

/// Returns every product, by SKU.
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

/// Returns every row of the listing, by SKU.
///
/// # Errors
///
/// A `store_*` code if the store cannot be read.
pub async fn listing(reads: &Reads) -> Result<BTreeMap<String, ProductRow>> {
    let mut listing = BTreeMap::new();
    let mut after = None;
    loop {
        let page = reads.rows::<ProductRow>(Select::All, after, PAGE).await?;
        listing.extend(page.rows);
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(listing),
        }
    }
}
