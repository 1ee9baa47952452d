//! What the audit compares.

use std::collections::{BTreeMap, BTreeSet};

use shop_contracts::{OrderId, UserId};
use wingbeat::{Reads, Result};

use crate::domain::{Booking, Promo, Use};

/// Entities read at once.
const PAGE: usize = 1_000;

/// Every welcome promo, by user: how many they have. All holds when each user has one.
///
/// # Errors
///
/// The store's, here and below.
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

/// Orders that redeemed a code which says it was redeemed by another, or by none: one code was
/// redeemed more than once. All holds when there are none.
///
/// # Errors
///
/// The store's.
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

/// The orders that redeemed a code.
///
/// # Errors
///
/// The store's.
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
