//! Figures of flash sales, for the invariants of `shop audit`.

use std::collections::BTreeMap;

use shop_contracts::{SaleId, UserId};
use wingbeat::{Reads, Result};

use crate::domain::{FlashClaim, FlashSale, Share};

/// Entities per read.
const PAGE: usize = 1_000;
/// The reported users of one sale.
const USERS_MAX: usize = 100;

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

/// Returns the figures of every sale.
///
/// # Errors
///
/// A `store_*` code if the store cannot be read.
pub async fn sales(reads: &Reads) -> Result<BTreeMap<SaleId, Figures>> {
    let mut sales = BTreeMap::<SaleId, Figures>::new();
    let mut after = None;
    loop {
        let page = reads.entities::<FlashSale>(after, PAGE).await?;
        after = page.last().map(|(id, _)| id.clone());
        for (id, sale) in page {
            let Ok(id) = id.parse() else { continue };
            sales.insert(id, figures(&sale));
        }
        if after.is_none() {
            break;
        }
    }
    if !sales.is_empty() {
        add_claims(reads, &mut sales).await?;
    }
    Ok(sales)
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

async fn add_claims(reads: &Reads, sales: &mut BTreeMap<SaleId, Figures>) -> Result<()> {
    let mut after = None;
    loop {
        let page = reads.entities::<FlashClaim>(after, PAGE).await?;
        after = page.last().map(|(id, _)| id.clone());
        for (_, claim) in page {
            let of = sales.entry(claim.sale_id).or_default();
            of.claims += 1;
            let Some(share) = claim.status.share() else {
                continue;
            };
            *match share {
                Share::Held => &mut of.claimed.held,
                Share::Ordered => &mut of.claimed.ordered,
                Share::Sold => &mut of.claimed.sold,
            } += 1;
            *of.users.entry(claim.user_id).or_default() += 1;
        }
        if after.is_none() {
            return Ok(());
        }
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
