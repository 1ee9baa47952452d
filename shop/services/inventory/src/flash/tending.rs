//! The ends: of claims that were not ordered in time, and of sales.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use shop_contracts::inventory::{FlashClaimExpired, StockLevelChanged};
use shop_contracts::{ClaimId, SaleId};
use wingbeat::store::Select;
use wingbeat::{Command, JsonSchema, Name, Now, Reads, Result, State, schemars};

use super::open_sales::OpenSales;
use super::units::{Units, expiry};
use super::{ALLOTMENTS, ALLOTTED_AFTER};
use crate::domain::{ClaimStatus, FlashSale, HeldClaimRow, SaleRow};

/// Expired claims per scan. The next scan finds the rest.
const EXPIRED_MAX: usize = 200;
/// Sales per read.
const PAGE: usize = 100;
/// The time for which an expired claim keeps its unit: an order that was accepted just before may
/// be on its way.
const GRACE: Duration = Duration::from_secs(2);
/// The time after the end of a sale in which the claims of its last moment are decided.
const CLOSE_AFTER: Duration = Duration::from_secs(5);
/// The time after which a sale is closed although the cache does not answer.
const CLOSE_WITHOUT_CACHE: Duration = Duration::from_secs(60);

/// Returns the unit of a claim that was not ordered in time. The command is private to inventory.
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "inventory.expire_flash_claim", version = 1, key = claim_id, internal)]
pub(crate) struct ExpireFlashClaim {
    claim_id: ClaimId,
}

/// Closes a sale. The command is private to inventory.
#[derive(Command, Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[command(name = "inventory.close_flash_sale", version = 1, key = sale_id, internal)]
pub(crate) struct CloseFlashSale {
    sale_id: SaleId,
}

/// Reads the open sales, and finds the claims and the sales that have ended.
pub(crate) async fn tend_sales(
    State(open): State<OpenSales>,
    Now(now): Now,
    reads: Reads,
) -> Result<(Vec<ExpireFlashClaim>, Vec<CloseFlashSale>)> {
    let sales = unclosed(&reads).await?;
    let mut ended = Vec::new();
    for (sale_id, sale) in &sales {
        let since = now.since(sale.terms.closes_at);
        if now > sale.terms.closes_at + CLOSE_AFTER && is_drained(&reads, *sale_id, since).await {
            ended.push(CloseFlashSale { sale_id: *sale_id });
        }
    }
    open.set(sales);
    Ok((expired(now, &reads).await?, ended))
}

/// Returns whether no claim of a sale waits, or the cache does not say so in time.
async fn is_drained(reads: &Reads, sale_id: SaleId, since: Duration) -> bool {
    match ALLOTMENTS.claims(reads, &sale_id.to_string(), 0).await {
        Ok(log) => log.is_none_or(|log| log.waiting == 0),
        Err(_) => since > CLOSE_WITHOUT_CACHE,
    }
}

/// Returns all sales that are not closed.
async fn unclosed(reads: &Reads) -> Result<Vec<(SaleId, FlashSale)>> {
    let (mut sales, mut after) = (Vec::new(), None);
    loop {
        let soonest = Select::Prefix {
            column: Name::new(SaleRow::OPEN_UNTIL),
            prefix: String::new(),
            descending: false,
        };
        let page = reads.rows::<SaleRow>(soonest, after, PAGE).await?;
        let ids = page.rows.iter().filter_map(|(key, _)| key.parse().ok());
        let ids: Vec<SaleId> = ids.collect();
        for (id, sale) in ids.iter().zip(reads.entities_of::<FlashSale>(&ids).await?) {
            sales.extend(sale?.map(|sale| (*id, sale)));
        }
        after = page.next;
        if after.is_none() {
            return Ok(sales);
        }
    }
}

async fn expired(now: wingbeat::Timestamp, reads: &Reads) -> Result<Vec<ExpireFlashClaim>> {
    let soonest = Select::Prefix {
        column: Name::new(HeldClaimRow::EXPIRES_AT),
        prefix: String::new(),
        descending: false,
    };
    let page = reads
        .rows::<HeldClaimRow>(soonest, None, EXPIRED_MAX)
        .await?;
    let rows = page.rows.into_iter().map(|(_, row)| row);
    Ok(rows
        .take_while(|row| row.expires_at + GRACE <= now)
        .map(|HeldClaimRow { claim_id, .. }| ExpireFlashClaim { claim_id })
        .collect())
}

/// Returns the unit of a claim to its sale, or to the general stock.
pub(crate) async fn expire_flash_claim(
    ExpireFlashClaim { claim_id }: ExpireFlashClaim,
    Now(now): Now,
    units: Units,
) -> Result<(Option<FlashClaimExpired>, Option<StockLevelChanged>)> {
    let claim = units.claims.get(&claim_id).await?;
    let is_due = |status| status == ClaimStatus::Confirmed;
    let Some(claim) = claim.filter(|it| is_due(it.status) && it.expires_at + GRACE <= now) else {
        return Ok((None, None));
    };
    let level = units
        .set(claim_id, claim, ClaimStatus::Expired, None)
        .await?;
    Ok((Some(expiry(claim_id, &claim)), level))
}

/// Closes a sale that has ended: its free units go back to the general stock.
pub(crate) async fn close_flash_sale(
    CloseFlashSale { sale_id }: CloseFlashSale,
    Now(now): Now,
    reads: Reads,
    units: Units,
) -> Result<Option<StockLevelChanged>> {
    let sale = units.sales.get(&sale_id).await?;
    let Some(mut sale) = sale.filter(|sale| !sale.closed && now >= sale.terms.closes_at) else {
        return Ok(None);
    };
    let (left, sku) = (sale.close(), sale.terms.sku.clone());
    units.sales.put(&sale_id, sale)?;
    // The cache forgets the allotment in any case, a day later.
    if let Err(why) = ALLOTMENTS.end(&reads, &sale_id.to_string()).await {
        let (code, keeps) = (why.code(), ALLOTTED_AFTER);
        tracing::debug!(sale = %sale_id, code, ?keeps, "the cache keeps a closed sale: {why}");
    }
    let reason = format!("left of flash sale {sale_id}");
    units.shelves.bring_back(&sku, left, reason, None).await
}
