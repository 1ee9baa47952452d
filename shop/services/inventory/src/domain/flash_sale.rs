//! A flash sale: its terms, and how many of its units are where.
//!
//! The sale's record decides on every claim. It is a hot key, so it contains counters and nothing
//! per claim.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use shop_contracts::{ClaimKey, Price, SaleId, Sku};
use wingbeat::{Entity, JsonSchema, Timestamp, View, ViewColumns, ViewRow, schemars};

use super::flash_claim::{ClaimStatus, Share};

/// The time for which a sale and its holders are stored after its end.
pub const SALES_KEPT: Duration = Duration::from_secs(40 * 24 * 3600);

/// The terms of a flash sale, which never change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SaleTerms {
    /// The product.
    pub sku: Sku,
    /// The price of one unit.
    pub price: Price,
    /// The units of the sale.
    pub allocation: u32,
    /// The most units of one user.
    pub per_user: u32,
    /// The start.
    pub opens_at: Timestamp,
    /// The end.
    pub closes_at: Timestamp,
    /// The lifetime of a claim, in seconds.
    pub claim_ttl_s: u32,
    /// The key that signs the claims.
    pub key: ClaimKey,
}

impl SaleTerms {
    /// Returns the lifetime of a claim.
    #[must_use]
    pub fn claim_ttl(&self) -> Duration {
        Duration::from_secs(self.claim_ttl_s.into())
    }
}

/// A flash sale. Always held + ordered + sold + returned ≤ allocation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FlashSale {
    /// The terms.
    pub terms: SaleTerms,
    /// The units of confirmed claims without an order.
    pub held: u32,
    /// The units of orders in checkout.
    pub ordered: u32,
    /// The units that left with an order.
    pub sold: u32,
    /// The units that went back to the general stock.
    pub returned: u32,
    /// `true` once the sale has given its units back. It grants nothing any more.
    pub closed: bool,
    /// The revision; each change adds one.
    pub revision: u64,
}

impl FlashSale {
    /// Creates a sale that has not sold anything.
    #[must_use]
    pub fn new(terms: SaleTerms) -> Self {
        Self {
            terms,
            held: 0,
            ordered: 0,
            sold: 0,
            returned: 0,
            closed: false,
            revision: 1,
        }
    }

    /// Returns the units that a claim can get.
    #[must_use]
    pub fn free(&self) -> u32 {
        let taken = self.held + self.ordered + self.sold + self.returned;
        self.terms.allocation.saturating_sub(taken)
    }

    /// Decides on a claim of a user who has this many units.
    #[must_use]
    pub fn decide(&self, units: u32, claimed_at: Timestamp, now: Timestamp) -> ClaimStatus {
        if now >= claimed_at + self.terms.claim_ttl() {
            return ClaimStatus::Expired;
        }
        if self.closed || self.free() == 0 || units >= self.terms.per_user {
            return ClaimStatus::Rejected;
        }
        ClaimStatus::Confirmed
    }

    /// Moves a unit from one share to another; `None` stands for the free units. A unit that a sale
    /// gets back after its end goes to the general stock; then this returns `true`.
    pub fn move_unit(&mut self, from: Option<Share>, to: Option<Share>) -> bool {
        if from == to {
            return false;
        }
        if let Some(from) = from {
            // A handler may have read the sale before another unit changed it, and the claim after
            // that. What it does is not committed; it only must not fail.
            let share = self.share(from);
            *share = share.saturating_sub(1);
        }
        if let Some(to) = to {
            *self.share(to) += 1;
        }
        self.revision += 1;
        let leaves = self.closed && to.is_none();
        self.returned += u32::from(leaves);
        leaves
    }

    /// Ends the sale, and returns the units that go back to the general stock.
    pub fn close(&mut self) -> u32 {
        let left = self.free();
        self.returned += left;
        self.closed = true;
        self.revision += 1;
        left
    }

    fn share(&mut self, of: Share) -> &mut u32 {
        match of {
            Share::Held => &mut self.held,
            Share::Ordered => &mut self.ordered,
            Share::Sold => &mut self.sold,
        }
    }
}

impl Entity for FlashSale {
    const NAME: &'static str = "flash_sale";
    type Id = SaleId;
    const VIEWS: &'static [ViewColumns] = &[ViewColumns::of::<SaleRow>(&[
        SaleRow::CLOSES_AT,
        SaleRow::OPEN_UNTIL,
    ])];

    fn rows(&self, id: &str) -> Vec<ViewRow> {
        vec![ViewRow::of(
            id,
            &SaleRow {
                closes_at: self.terms.closes_at,
                closed: self.closed,
            },
        )]
    }
}

/// A flash sale, indexed by its end. The key is the sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SaleRow {
    /// The end.
    pub closes_at: Timestamp,
    /// `true` once the sale has given its units back.
    pub closed: bool,
}

impl SaleRow {
    /// The index column of all sales.
    pub const CLOSES_AT: &'static str = "closes_at";
    /// The index column of the sales that are not closed.
    pub const OPEN_UNTIL: &'static str = "open_until";
}

impl View for SaleRow {
    const NAME: &'static str = "flash_sales";

    fn columns(&self) -> Vec<(&'static str, String)> {
        let at = self.closes_at.to_string();
        let mut columns = vec![(Self::CLOSES_AT, at.clone())];
        if !self.closed {
            columns.push((Self::OPEN_UNTIL, at));
        }
        columns
    }
}

#[cfg(test)]
mod tests {
    use shop_contracts::Money;

    use super::*;

    const NOON: Timestamp = Timestamp::from_millis(1_000_000);

    fn sale(allocation: u32) -> FlashSale {
        FlashSale::new(SaleTerms {
            sku: "TEA-1".parse().unwrap(),
            price: Price::new(Money::eur(100)).unwrap(),
            allocation,
            per_user: 1,
            opens_at: NOON,
            closes_at: NOON + Duration::from_secs(60),
            claim_ttl_s: 10,
            key: ClaimKey::new([0; 32]),
        })
    }

    #[test]
    fn a_claim_is_confirmed_while_a_unit_is_free_and_the_user_may_have_it() {
        let mut sale = sale(1);
        assert_eq!(sale.decide(0, NOON, NOON), ClaimStatus::Confirmed);
        assert_eq!(sale.decide(1, NOON, NOON), ClaimStatus::Rejected);
        sale.move_unit(None, Some(Share::Held));
        assert_eq!(sale.decide(0, NOON, NOON), ClaimStatus::Rejected);
    }

    #[test]
    fn a_claim_that_is_decided_after_its_time_is_expired() {
        let sale = sale(1);
        let late = NOON + Duration::from_secs(10);
        assert_eq!(sale.decide(0, NOON, late), ClaimStatus::Expired);
    }

    #[test]
    fn a_unit_that_comes_back_is_free_until_the_end_and_then_leaves() {
        let mut sale = sale(2);
        sale.move_unit(None, Some(Share::Held));
        sale.move_unit(None, Some(Share::Held));
        sale.move_unit(Some(Share::Held), Some(Share::Ordered));
        assert!(!sale.move_unit(Some(Share::Held), None));
        assert_eq!(sale.free(), 1);
        assert_eq!(sale.close(), 1);
        assert!(sale.move_unit(Some(Share::Ordered), None));
        assert_eq!((sale.free(), sale.returned), (0, 2));
        assert_eq!(sale.decide(0, NOON, NOON), ClaimStatus::Rejected);
    }

    #[test]
    fn a_sale_that_is_older_than_its_claim_is_no_failure() {
        let mut sale = sale(2);
        assert!(!sale.move_unit(Some(Share::Held), None));
        assert_eq!(sale.free(), 2);
    }

    #[test]
    fn each_change_has_a_revision() {
        let mut sale = sale(2);
        sale.move_unit(None, Some(Share::Held));
        sale.close();
        assert_eq!(sale.revision, 3);
        sale.move_unit(Some(Share::Held), Some(Share::Held));
        assert_eq!(sale.revision, 3, "nothing changed");
    }
}
