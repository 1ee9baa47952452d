//! What the audit compares.

use std::collections::BTreeMap;

use wingbeat::store::Select;
use wingbeat::{Reads, Result};

use crate::domain::Product;
use crate::views::ProductRow;

/// Entities or rows read at once.
const PAGE: usize = 1_000;

/// Every product, by SKU.
///
/// # Errors
///
/// The store's, here and below.
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

/// Every row of the listing, by SKU.
///
/// # Errors
///
/// The store's.
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
