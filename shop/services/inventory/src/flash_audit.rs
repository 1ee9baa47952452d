//! Figures of flash sales, for the invariants of `shop audit`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use shop_contracts::{ClaimId, ClaimKey, OrderId, SaleId, UserId};
use wingbeat::{Reads, Result, Timestamp};

use crate::domain::{CLAIMS_KEPT, ClaimStatus, FlashClaim, FlashSale, SaleTerms, Share};

/// Entities per read.
const PAGE: usize = 1_000;
/// The reported users of one sale.
const USERS_MAX: usize = 100;
/// The time for which the claims of a sale are all stored, counted from its start. The clocks of
/// processes may differ.
const ALL_STORED: Duration = CLAIMS_KEPT.saturating_sub(Duration::from_secs(24 * 3600));

/// The units of a sale that are not free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    /// Those of confirmed claims without an order.
    pub held: u32,
    /// Those of orders in checkout.
    pub ordered: u32,
    /// Those that left with an order.
    pub sold: u32,
}

/// The figures of a sale. The claims with a unit are at most the allocation, and at most the limit
/// for each user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// The units of the sale.
    pub allocation: u32,
    /// The units that went back to the general stock.
    pub returned: u32,
    /// The most units of one user.
    pub per_user: u32,
    /// `true` if the sale has given its units back.
    pub closed: bool,
    /// The units, according to the sale.
    pub counted: Shares,
    /// The units, according to the claims.
    pub claimed: Shares,
    /// The recorded claims.
    pub claims: u64,
    /// The units of users, according to the claims.
    users: BTreeMap<UserId, u32>,
}

impl Figures {
    /// Returns the claims that have a unit.
    #[must_use]
    pub fn taken(&self) -> u32 {
        self.claimed.held + self.claimed.ordered + self.claimed.sold
    }

    /// Describes the violations of the invariant; none if it holds.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        let (taken, allocation) = (self.taken(), self.allocation);
        let mut violations = Vec::new();
        if taken > allocation {
            violations.push(format!("{taken} claims have one of {allocation} units"));
        } else if taken + self.returned > allocation {
            let returned = self.returned;
            violations.push(format!(
                "{taken} claims and {returned} in stock of {allocation} units"
            ));
        }
        if self.closed && taken + self.returned != allocation {
            violations.push(format!(
                "it closed with {taken} and {} units",
                self.returned
            ));
        }
        if self.claimed != self.counted {
            let (claimed, counted) = (self.claimed, self.counted);
            violations.push(format!("{counted:?}, but its claims have {claimed:?}"));
        }
        let over = self
            .users
            .iter()
            .filter(|(_, units)| **units > self.per_user);
        let over = over.map(|(user, units)| format!("{user} has {units} of {}", self.per_user));
        violations.extend(over.take(USERS_MAX));
        violations
    }
}

/// Returns the figures of every sale whose claims are all stored. The figures of older sales do not
/// change any more.
///
/// # Errors
///
/// A `store_*` code if the store cannot be read.
pub async fn sales(reads: &Reads) -> Result<BTreeMap<SaleId, Figures>> {
    let mut audited = Audited {
        now: reads.runtime().now(),
        sales: BTreeMap::new(),
        over: BTreeSet::new(),
    };
    let mut after = None;
    loop {
        let page = reads.entities::<FlashSale>(after, PAGE).await?;
        after = page.last().map(|(id, _)| id.clone());
        for (id, sale) in page {
            let Ok(id) = id.parse() else { continue };
            audited.add_sale(id, &sale);
        }
        if after.is_none() {
            break;
        }
    }
    audited.add_claims(reads).await?;
    Ok(audited.sales)
}

/// Returns the orders that have a unit of a flash sale at this moment, which has not left yet.
///
/// # Errors
///
/// A `store_*` code if the store cannot be read.
pub async fn ordering(reads: &Reads) -> Result<Vec<OrderId>> {
    let (mut orders, mut after) = (Vec::new(), None);
    loop {
        let page = reads.entities::<FlashClaim>(after, PAGE).await?;
        after = page.last().map(|(id, _)| id.clone());
        orders.extend(
            page.into_iter()
                .filter_map(|(_, claim)| match claim.status {
                    ClaimStatus::Ordered { order_id } => Some(order_id),
                    _ => None,
                }),
        );
        if after.is_none() {
            return Ok(orders);
        }
    }
}

/// The sales of an audit.
struct Audited {
    now: Timestamp,
    sales: BTreeMap<SaleId, Figures>,
    /// The sales whose first claims may be deleted.
    over: BTreeSet<SaleId>,
}

fn figures(sale: &FlashSale) -> Figures {
    Figures {
        allocation: sale.terms.allocation,
        returned: sale.returned,
        per_user: sale.terms.per_user,
        closed: sale.closed,
        counted: Shares {
            held: sale.held,
            ordered: sale.ordered,
            sold: sale.sold,
        },
        ..Figures::default()
    }
}

impl Audited {
    fn add_sale(&mut self, id: SaleId, sale: &FlashSale) {
        let SaleTerms { opens_at, .. } = sale.terms;
        if self.now < opens_at + ALL_STORED {
            self.sales.insert(id, figures(sale));
        } else {
            self.over.insert(id);
        }
    }

    async fn add_claims(&mut self, reads: &Reads) -> Result<()> {
        let mut after = None;
        loop {
            let page = reads.entities::<FlashClaim>(after, PAGE).await?;
            after = page.last().map(|(id, _)| id.clone());
            for (id, claim) in page {
                self.add_claim(id.parse().unwrap_or_default(), claim);
            }
            if after.is_none() {
                return Ok(());
            }
        }
    }

    fn add_claim(&mut self, id: ClaimId, claim: FlashClaim) {
        let is_old = self.now >= ClaimKey::time(id) + ALL_STORED;
        let of = match self.sales.get_mut(&claim.sale_id) {
            Some(of) => of,
            // An old sale may be deleted before its last claims.
            None if is_old || self.over.contains(&claim.sale_id) => return,
            None => self.sales.entry(claim.sale_id).or_default(),
        };
        of.claims += 1;
        let Some(share) = claim.status.share() else {
            return;
        };
        *match share {
            Share::Held => &mut of.claimed.held,
            Share::Ordered => &mut of.claimed.ordered,
            Share::Sold => &mut of.claimed.sold,
        } += 1;
        *of.users.entry(claim.user_id).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_disagreement_is_a_violation() {
        let shares = Shares {
            held: 1,
            ordered: 0,
            sold: 1,
        };
        let fine = Figures {
            allocation: 3,
            per_user: 2,
            counted: shares,
            claimed: shares,
            users: [(UserId::default(), 2)].into(),
            ..Figures::default()
        };
        assert_eq!(fine.violations(), Vec::<String>::new());
        let wrong = [
            Figures {
                allocation: 1,
                ..fine.clone()
            },
            Figures {
                returned: 2,
                ..fine.clone()
            },
            Figures {
                closed: true,
                ..fine.clone()
            },
            Figures {
                counted: Shares::default(),
                ..fine.clone()
            },
            Figures {
                per_user: 1,
                ..fine.clone()
            },
        ];
        for figures in wrong {
            assert_eq!(figures.violations().len(), 1, "{figures:?}");
        }
    }
}
