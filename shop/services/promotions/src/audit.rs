//! Reads of promos and bookings, for the invariants of `shop audit`.

use std::collections::{BTreeMap, BTreeSet};

use shop_contracts::{OrderId, UserId};
use wingbeat::{Reads, Result};

use crate::domain::{Booking, Promo, Use};

/// Entities per read.
const PAGE: usize = 1_000;

/// Returns the number of welcome promos of each user. The invariant holds if each user has one.
///
/// # Errors
///
/// A `store_*` code if the store cannot be read.
pub async fn welcome_promos(reads: &Reads) -> Result<BTreeMap<UserId, u64>> {
    let mut users = BTreeMap::new();
    let mut after = None;
    loop {
        let page = reads.entities::<Promo>(after, PAGE).await?;
        after = page.last().map(|(code, _)| code.clone());
        for (_, promo) in page
            .into_iter()
            .filter(|(code, _)| code.starts_with("WELCOME-"))
        {
            *users.entry(promo.user_id).or_default() += 1;
        }
        if after.is_none() {
            return Ok(users);
        }
    }
}

/// Returns the orders that redeemed a code which does not name them as its redeemer: their codes
/// were redeemed more than once. The invariant holds if there are none.
///
/// # Errors
///
/// A `store_*` code if the store cannot be read.
pub async fn redeemed_twice(reads: &Reads) -> Result<BTreeSet<OrderId>> {
    let mut orders = redeemed(reads).await?;
    let mut after = None;
    loop {
        let page = reads.entities::<Promo>(after, PAGE).await?;
        after = page.last().map(|(code, _)| code.clone());
        for (_, promo) in page {
            if let Use::Redeemed { order_id } = promo.used {
                orders.remove(&order_id);
            }
        }
        if after.is_none() {
            return Ok(orders);
        }
    }
}

/// Returns the orders that redeemed a code.
///
/// # Errors
///
/// A `store_*` code if the store cannot be read.
pub async fn redeemed(reads: &Reads) -> Result<BTreeSet<OrderId>> {
    let mut orders = BTreeSet::new();
    let mut after = None;
    loop {
        let page = reads.entities::<Booking>(after, PAGE).await?;
        after = page.last().map(|(id, _)| id.clone());
        for (id, booking) in page {
            if let (Booking::Redeemed { .. }, Ok(order)) = (booking, id.parse()) {
                orders.insert(order);
            }
        }
        if after.is_none() {
            return Ok(orders);
        }
    }
}
