//! Orders of a claimed unit of a flash sale.

use std::time::Duration;

use shop_contracts::{ClaimId, ClaimKey, Line, OrderId, SaleId, UserId};
use wingbeat::http::Problem;
use wingbeat::store::Select;
use wingbeat::{Name, Reads, Result, ServiceContext, Timestamp};

use super::Records;
use super::waiting::{PROMO_WAIT, until};
use crate::copies::{ClaimCopy, SaleCopy};

/// Copies of sales per read.
const PAGE: usize = 100;

/// Parses the id of a claim. A malformed id is one of no claim.
pub(super) fn parsed(text: &str) -> Result<ClaimId, Problem> {
    text.parse().map_err(|_| Problem::not_found())
}

/// Returns the sale whose key has signed a claim of this user; `None` if there is none.
pub(super) async fn sale_of(
    reads: &Reads,
    claim: ClaimId,
    user: UserId,
) -> Result<Option<SaleCopy>> {
    let from = ClaimKey::earliest_end(claim, reads.runtime().now());
    let signed = |(key, sale): &(String, SaleCopy)| {
        let id = key.parse::<SaleId>();
        id.is_ok_and(|id| sale.claim_key.has_signed(claim, id, user))
    };
    let mut after = None;
    loop {
        let by_end = Select::Range {
            column: Name::new(SaleCopy::CLOSES_AT),
            from: from.to_string(),
            until: None,
            descending: false,
        };
        let page = reads.rows::<SaleCopy>(by_end, after, PAGE).await?;
        if let Some((_, sale)) = page.rows.into_iter().find(signed) {
            return Ok(Some(sale));
        }
        after = page.next;
        if after.is_none() {
            return Ok(None);
        }
    }
}

/// Waits for the copy of a claim on its way.
///
/// # Errors
///
/// 404 if the user has no such claim.
pub(super) async fn arrived(
    context: &ServiceContext,
    reads: &Reads,
    id: ClaimId,
    user: UserId,
    wait: Duration,
) -> Result<(), Problem> {
    let is_here = || async {
        let copy = reads.entity::<ClaimCopy>(&id).await?;
        Ok(copy.is_some_and(|copy| copy.user_id == user))
    };
    let exists = || async { Ok(is_here().await? || sale_of(reads, id, user).await?.is_some()) };
    until(context, wait.min(PROMO_WAIT), exists).await?;
    if !exists().await? {
        return Err(Problem::not_found());
    }
    until(context, wait, is_here).await?;
    Ok(())
}

impl Records {
    /// Returns the line of a claim, and records that the order uses it.
    pub(super) async fn claimed(
        &self,
        reads: &Reads,
        id: ClaimId,
        user: UserId,
        order: OrderId,
        now: Timestamp,
    ) -> Result<Vec<Line>, Problem> {
        let Some(mut claim) = self.claims.get(&id).await? else {
            let sale = sale_of(reads, id, user).await?;
            let sale = sale.ok_or_else(Problem::not_found)?;
            if now >= ClaimKey::time(id) + sale.claim_ttl() {
                return Err(expired());
            }
            let detail = "the claim is not confirmed yet; try again";
            return Err(Problem::new(409, "claim_pending", detail));
        };
        if claim.user_id != user {
            return Err(Problem::not_found());
        }
        if claim.used_by.is_some() {
            let detail = "the claim was ordered already";
            return Err(Problem::new(409, "claim_used", detail));
        }
        let unit = claim.unit.clone();
        let Some(unit) = unit.filter(|unit| !claim.expired && now < unit.expires_at) else {
            return Err(expired());
        };
        claim.used_by = Some(order);
        self.claims.put(&id, claim)?;
        let product = self.products.get(&unit.sku).await?;
        let name = product.map(|product| product.name);
        Ok(vec![Line {
            name: name.unwrap_or_else(|| unit.sku.to_string()),
            sku: unit.sku,
            quantity: 1,
            price: unit.price,
        }])
    }
}

fn expired() -> Problem {
    Problem::new(409, "claim_expired", "the claim has expired")
}
