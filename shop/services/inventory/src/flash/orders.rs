//! The commands of the checkout of an order with a claim. Each is idempotent, by claim and order.

use shop_contracts::inventory::{
    CommitFlashClaim, ReturnFlashClaim, StockCommitRefused, StockCommitted, StockLevelChanged,
    StockReleased, UseFlashClaim,
};
use wingbeat::{Either, Result};

use super::Units;
use crate::domain::{ClaimStatus, FlashSale};

/// Binds a claim to an order, so that it no longer expires. A claim that expired on the way gets
/// another unit if the sale has one; otherwise the commit is refused.
pub(crate) async fn use_flash_claim(command: UseFlashClaim, units: Units) -> Result<()> {
    let UseFlashClaim { order_id, claim_id } = command;
    let Some(claim) = units.claims.get(&claim_id).await? else {
        return Ok(());
    };
    let Some(used) = claim.status.used(order_id) else {
        return Ok(());
    };
    if claim.status == ClaimStatus::Expired {
        let sale = units.sales.get(&claim.sale_id).await?;
        let holder = units.holder(claim.sale_id, claim.user_id).await?;
        let has_unit = |sale: &FlashSale| {
            !sale.closed && sale.free() > 0 && holder.units < sale.terms.per_user
        };
        if !sale.as_ref().is_some_and(has_unit) {
            return Ok(());
        }
    }
    units.set(claim_id, claim, used, Some(order_id)).await?;
    Ok(())
}

/// Takes the unit of a claim out for its order. The reply is a refusal if the order has no unit.
pub(crate) async fn commit_flash_claim(
    command: CommitFlashClaim,
    units: Units,
) -> Result<Either<StockCommitted, StockCommitRefused>> {
    let CommitFlashClaim { order_id, claim_id } = command;
    let refused = Ok(Either::Right(StockCommitRefused { order_id }));
    let Some(claim) = units.claims.get(&claim_id).await? else {
        return refused;
    };
    let committed = claim.status.committed(order_id);
    if committed != (ClaimStatus::Sold { order_id }) {
        return refused;
    }
    if committed != claim.status {
        units
            .set(claim_id, claim, committed, Some(order_id))
            .await?;
    }
    Ok(Either::Left(StockCommitted { order_id }))
}

/// Returns the unit of an order to its sale, or to the general stock.
pub(crate) async fn return_flash_claim(
    command: ReturnFlashClaim,
    units: Units,
) -> Result<(StockReleased, Option<StockLevelChanged>)> {
    let ReturnFlashClaim { order_id, claim_id } = command;
    let mut level = None;
    if let Some(claim) = units.claims.get(&claim_id).await? {
        let back = claim.status.given_back(order_id);
        if back != claim.status {
            level = units.set(claim_id, claim, back, Some(order_id)).await?;
        }
    }
    Ok((StockReleased { order_id }, level))
}
