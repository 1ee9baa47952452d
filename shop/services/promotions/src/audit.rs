//! Reads of promos and bookings, for the invariants of `shop audit`.

use std::collections::BTreeSet;

use shop_contracts::{OrderId, UserId};
use wingbeat::store::{Position, Select};
use wingbeat::{Name, Reads, Result};

use crate::domain::{Booking, Promo, Use};
use crate::views::{PromoRow, USER};

/// Entities per read.
const PAGE: usize = 1_000;

/// Returns the owners of the next promos, in the order of the owners: the user once for each
/// welcome promo. The invariant holds if each user has one. Also returns where the next page
/// begins, if there is one.
///
/// # Errors
///
/// A `store_*` code if the store cannot be read.
pub async fn welcome_promos(
    reads: &Reads,
    after: Option<Position>,
) -> Result<(Vec<String>, Option<Position>)> {
    owners(reads, String::new(), after).await
}

/// Returns the number of welcome promos of a user.
///
/// # Errors
///
/// A `store_*` code if the store cannot be read.
pub async fn welcome_promos_of(reads: &Reads, user: UserId) -> Result<usize> {
    let (owners, _) = owners(reads, user.to_string(), None).await?;
    Ok(owners.len())
}

async fn owners(
    reads: &Reads,
    prefix: String,
    after: Option<Position>,
) -> Result<(Vec<String>, Option<Position>)> {
    let select = Select::Prefix {
        column: Name::new(USER),
        prefix,
        descending: false,
    };
    let page = reads.rows::<PromoRow>(select, after, PAGE).await?;
    let welcome = page.rows.iter().filter(|(code, _)| is_welcome(code));
    let owners = welcome.map(|(_, row)| row.promo.user_id.to_string());
    Ok((owners.collect(), page.next))
}

fn is_welcome(code: &str) -> bool {
    code.starts_with("WELCOME-")
}

/// The orders that redeemed a code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Redeemers {
    count: u64,
    /// The sum of their ids.
    sum: u128,
}

impl Redeemers {
    fn add(&mut self, order: OrderId) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(order.0.as_u128());
    }
}

/// Returns the number of orders that redeemed a code, and those of them that no code names as its
/// redeemer: their codes were redeemed more than once. The invariant holds if there are none.
///
/// The memory that it takes does not grow with the number of orders: it compares the sums of their
/// ids, and looks for single orders only if these differ.
///
/// # Errors
///
/// A `store_*` code if the store cannot be read.
pub async fn redeemed_twice(reads: &Reads) -> Result<(u64, BTreeSet<OrderId>)> {
    let (mut ordered, mut named) = (Redeemers::default(), Redeemers::default());
    let mut after = None;
    while let Some(page) = redeemed(reads, &mut after).await? {
        page.into_iter().for_each(|order| ordered.add(order));
    }
    let mut after = None;
    while let Some(page) = redeemers(reads, &mut after).await? {
        page.into_iter().for_each(|order| named.add(order));
    }
    let mut twice = BTreeSet::new();
    if ordered != named {
        let mut after = None;
        while let Some(page) = redeemed(reads, &mut after).await? {
            twice.extend(unnamed(reads, page).await?);
        }
    }
    Ok((ordered.count, twice))
}

/// Returns the orders that have a promo reserved at this moment.
///
/// # Errors
///
/// A `store_*` code if the store cannot be read.
pub async fn reserving(reads: &Reads) -> Result<Vec<OrderId>> {
    let (mut orders, mut after) = (Vec::new(), None);
    loop {
        let page = reads.entities::<Promo>(after, PAGE).await?;
        after = page.last().map(|(id, _)| id.clone());
        orders.extend(page.into_iter().filter_map(|(_, promo)| match promo.used {
            Use::Reserved { order_id } => Some(order_id),
            _ => None,
        }));
        if after.is_none() {
            return Ok(orders);
        }
    }
}

/// Returns those of the orders that no code names as its redeemer.
async fn unnamed(reads: &Reads, orders: Vec<OrderId>) -> Result<BTreeSet<OrderId>> {
    let mut orders: BTreeSet<OrderId> = orders.into_iter().collect();
    let mut after = None;
    while !orders.is_empty()
        && let Some(page) = redeemers(reads, &mut after).await?
    {
        for order in page {
            orders.remove(&order);
        }
    }
    Ok(orders)
}

/// Returns the orders of the next bookings that redeemed a code; `None` after the last one.
async fn redeemed(reads: &Reads, after: &mut Option<String>) -> Result<Option<Vec<OrderId>>> {
    let page = reads.entities::<Booking>(after.take(), PAGE).await?;
    let Some((last, _)) = page.last() else {
        return Ok(None);
    };
    *after = Some(last.clone());
    let redeemed = page.into_iter().filter_map(|(id, booking)| {
        let redeemed = matches!(booking, Booking::Redeemed { .. });
        redeemed.then(|| id.parse().ok()).flatten()
    });
    Ok(Some(redeemed.collect()))
}

/// Returns the orders that the next codes name as their redeemers; `None` after the last one.
async fn redeemers(reads: &Reads, after: &mut Option<String>) -> Result<Option<Vec<OrderId>>> {
    let page = reads.entities::<Promo>(after.take(), PAGE).await?;
    let Some((last, _)) = page.last() else {
        return Ok(None);
    };
    *after = Some(last.clone());
    let redeemers = page.into_iter().filter_map(|(_, promo)| match promo.used {
        Use::Redeemed { order_id } => Some(order_id),
        _ => None,
    });
    Ok(Some(redeemers.collect()))
}
