//! The records of a sale, within one unit of work: the sale, its claims and its holders. Each unit
//! of a sale that changes hands changes all three.

use shop_contracts::inventory::{FlashClaimConfirmed, FlashClaimExpired, StockLevelChanged};
use shop_contracts::{ClaimId, ClaimKey, OrderId, SaleId, UserId};
use wingbeat::cache::Entry;
use wingbeat::{Extract, Result, Rows, Scope, Table, Timestamp};

use crate::domain::{ClaimStatus, FlashClaim, FlashHolder, FlashSale, HeldClaimRow, Share};
use crate::shelves::Shelves;

/// The records of flash sales, within one unit of work.
pub(crate) struct Units {
    pub(crate) sales: Table<FlashSale>,
    pub(crate) claims: Table<FlashClaim>,
    holders: Table<FlashHolder>,
    held: Rows<HeldClaimRow>,
    pub(crate) shelves: Shelves,
}

impl<S> Extract<Scope, S> for Units {
    fn extract(scope: &Scope, state: &S) -> Result<Self> {
        Ok(Self {
            sales: Extract::extract(scope, state)?,
            claims: Extract::extract(scope, state)?,
            holders: Extract::extract(scope, state)?,
            held: Extract::extract(scope, state)?,
            shelves: Extract::extract(scope, state)?,
        })
    }
}

/// The function that decides on a claim: [`FlashSale::decide`], except in negative controls.
pub(crate) type Decide = fn(&FlashSale, u32, Timestamp, Timestamp) -> ClaimStatus;

/// The decisions on a batch of claims.
pub(crate) type Decided = (Vec<FlashClaimConfirmed>, Vec<FlashClaimExpired>);

impl Units {
    /// Decides on claims in the order in which the cache granted them, and records them. Ignores
    /// those that are recorded.
    pub(crate) async fn decide(
        &self,
        sale_id: SaleId,
        entries: Vec<Entry>,
        now: Timestamp,
        decide: Decide,
    ) -> Result<Decided> {
        let (mut confirmed, mut expired) = Decided::default();
        if entries.is_empty() {
            return Ok((confirmed, expired));
        }
        let Some(mut sale) = self.sales.get(&sale_id).await? else {
            return Ok((confirmed, expired));
        };
        for entry in entries {
            // Another program wrote what is no claim: nobody waits for it.
            let (Ok(claim_id), Ok(user_id)) = (entry.id.parse(), entry.holder.parse()) else {
                continue;
            };
            if self.claims.get(&claim_id).await?.is_some() {
                continue;
            }
            let units = self.holder(sale_id, user_id).await?.units;
            let claimed_at = ClaimKey::time(claim_id);
            let claim = FlashClaim {
                sale_id,
                user_id,
                status: ClaimStatus::Rejected,
                expires_at: now.min(claimed_at) + sale.terms.claim_ttl(),
            };
            let status = decide(&sale, units, claimed_at, now);
            if status == ClaimStatus::Confirmed {
                let claim = FlashClaim {
                    expires_at: now + sale.terms.claim_ttl(),
                    ..claim
                };
                confirmed.push(confirmation(claim_id, &claim, &sale));
                self.change(claim_id, claim, status, &mut sale).await?;
            } else {
                expired.push(expiry(claim_id, &claim));
                self.claims.put(&claim_id, FlashClaim { status, ..claim })?;
            }
        }
        self.sales.put(&sale_id, sale)?;
        Ok((confirmed, expired))
    }

    /// Gives a claim another status and moves its unit. Stores everything but the sale. Returns
    /// `true` if the unit goes to the general stock.
    async fn change(
        &self,
        id: ClaimId,
        claim: FlashClaim,
        status: ClaimStatus,
        sale: &mut FlashSale,
    ) -> Result<bool> {
        let (from, to) = (claim.status.share(), status.share());
        let leaves = sale.move_unit(from, to);
        if from.is_some() != to.is_some() {
            let mut holder = self.holder(claim.sale_id, claim.user_id).await?;
            if to.is_some() {
                holder.units += 1;
            } else {
                // The holder of an old sale may be deleted already.
                holder.units = holder.units.saturating_sub(1);
            }
            holder.revision = sale.revision;
            let key = FlashHolder::id(claim.sale_id, claim.user_id);
            self.holders.put(&key, holder)?;
        }
        if to == Some(Share::Held) {
            let row = HeldClaimRow {
                claim_id: id,
                expires_at: claim.expires_at,
            };
            self.held.put(id.to_string(), &row)?;
        } else if from == Some(Share::Held) {
            self.held.remove(id.to_string())?;
        }
        self.claims.put(&id, FlashClaim { status, ..claim })?;
        Ok(leaves)
    }

    /// Gives a recorded claim another status. A unit that comes back is free again, or goes to the
    /// general stock if its sale is closed; then this returns the level of the stock.
    pub(crate) async fn set(
        &self,
        id: ClaimId,
        claim: FlashClaim,
        status: ClaimStatus,
        order_id: Option<OrderId>,
    ) -> Result<Option<StockLevelChanged>> {
        let Some(mut sale) = self.sales.get(&claim.sale_id).await? else {
            return Ok(None);
        };
        let leaves = self.change(id, claim, status, &mut sale).await?;
        let sku = sale.terms.sku.clone();
        self.sales.put(&claim.sale_id, sale)?;
        if !leaves {
            return Ok(None);
        }
        let reason = format!("back from flash sale {}", claim.sale_id);
        self.shelves.bring_back(&sku, 1, reason, order_id).await
    }

    /// Returns the units that a user has of a sale.
    pub(crate) async fn holder(&self, sale_id: SaleId, user_id: UserId) -> Result<FlashHolder> {
        let key = FlashHolder::id(sale_id, user_id);
        let known = self.holders.get(&key).await?;
        Ok(known.unwrap_or(FlashHolder {
            sale_id,
            user_id,
            units: 0,
            revision: 0,
        }))
    }
}

fn confirmation(claim_id: ClaimId, claim: &FlashClaim, sale: &FlashSale) -> FlashClaimConfirmed {
    FlashClaimConfirmed {
        claim_id,
        sale_id: claim.sale_id,
        user_id: claim.user_id,
        sku: sale.terms.sku.clone(),
        price: sale.terms.price,
        expires_at: claim.expires_at,
    }
}

pub(crate) fn expiry(claim_id: ClaimId, claim: &FlashClaim) -> FlashClaimExpired {
    FlashClaimExpired {
        claim_id,
        sale_id: claim.sale_id,
        user_id: claim.user_id,
    }
}
