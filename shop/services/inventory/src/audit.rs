//! Figures of stock and reservations, for the invariants of `shop audit`.

use std::collections::BTreeMap;

use shop_contracts::{OrderId, Sku};
use wingbeat::store::Select;
use wingbeat::{Reads, Result, Timestamp};

use crate::domain::{Reservation, Stock};
use crate::views::{HeldRow, LedgerRow};

/// Entities or rows per read.
const PAGE: usize = 1_000;

/// The figures of a product. The invariant is 0 ≤ reserved = held ≤ on hand = ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// The units in the warehouse.
    pub on_hand: i64,
    /// The reserved units, according to the stock.
    pub reserved: i64,
    /// The reserved units, according to the reservations.
    pub held: i64,
    /// The units in the warehouse, according to the ledger.
    pub ledger: i64,
}

impl Figures {
    /// Describes the violation of the invariant; `None` if it holds.
    #[must_use]
    pub fn violation(&self) -> Option<String> {
        let Self {
            on_hand,
            reserved,
            held,
            ledger,
        } = self;
        if *reserved < 0 || reserved > on_hand {
            return Some(format!("{reserved} reserved of {on_hand} on hand"));
        }
        if reserved != held {
            return Some(format!("{reserved} reserved, but reservations hold {held}"));
        }
        (on_hand != ledger).then(|| format!("{on_hand} on hand, but the ledger says {ledger}"))
    }
}

/// Returns the figures of every product.
///
/// # Errors
///
/// A `store_*` code if the store cannot be read.
pub async fn stock(reads: &Reads) -> Result<BTreeMap<Sku, Figures>> {
    let mut figures = BTreeMap::<Sku, Figures>::new();
    let mut after = None;
    loop {
        let page = reads.entities::<Stock>(after, PAGE).await?;
        after = page.last().map(|(id, _)| id.clone());
        for (id, stock) in page {
            let Ok(sku) = id.parse::<Sku>() else { continue };
            let of = figures.entry(sku).or_default();
            (of.on_hand, of.reserved) = (stock.on_hand, stock.reserved);
        }
        if after.is_none() {
            break;
        }
    }
    add_held(reads, &mut figures).await?;
    add_ledger(reads, &mut figures).await?;
    Ok(figures)
}

async fn add_held(reads: &Reads, figures: &mut BTreeMap<Sku, Figures>) -> Result<()> {
    let mut after = None;
    loop {
        let page = reads.entities::<Reservation>(after, PAGE).await?;
        after = page.last().map(|(id, _)| id.clone());
        for (_, reservation) in page {
            let Reservation::Held { lines, .. } = reservation else {
                continue;
            };
            for (sku, quantity) in lines {
                figures.entry(sku).or_default().held += i64::from(quantity);
            }
        }
        if after.is_none() {
            return Ok(());
        }
    }
}

async fn add_ledger(reads: &Reads, figures: &mut BTreeMap<Sku, Figures>) -> Result<()> {
    let mut after = None;
    loop {
        let page = reads.rows::<LedgerRow>(Select::All, after, PAGE).await?;
        for (_, row) in page.rows {
            figures.entry(row.sku).or_default().ledger += row.delta;
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}

/// Returns the orders that have reserved stock at this moment, and when their reservations expire.
///
/// # Errors
///
/// A `store_*` code if the store cannot be read.
pub async fn reserving(reads: &Reads) -> Result<Vec<(OrderId, Timestamp)>> {
    let (mut orders, mut after) = (Vec::new(), None);
    loop {
        let page = reads.rows::<HeldRow>(Select::All, after, PAGE).await?;
        let rows = page.rows.into_iter();
        orders.extend(rows.map(|(_, row)| (row.order_id, row.expires_at)));
        after = page.next;
        if after.is_none() {
            return Ok(orders);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_disagreement_is_a_violation() {
        let fine = Figures {
            on_hand: 5,
            reserved: 2,
            held: 2,
            ledger: 5,
        };
        assert_eq!(fine.violation(), None);
        let wrong = [
            Figures {
                reserved: 6,
                ..fine.clone()
            },
            Figures {
                held: 1,
                ..fine.clone()
            },
            Figures {
                ledger: 4,
                ..fine.clone()
            },
        ];
        assert!(wrong.iter().all(|figures| figures.violation().is_some()));
    }
}
