//! The routes of flash sales, except new claims and sales: the list, and a claim's status.

use axum::response::{IntoResponse, Response};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use shop_contracts::{ClaimId, ClaimKey, SaleId, UserId};
use wingbeat::http::{Caller, Cursor, Path, Problem, Query, Routes, get, ok, plain, post};
use wingbeat::overload::Priority;
use wingbeat::store::{Position, Select};
use wingbeat::{JsonSchema, Name, Reads, Result, Timestamp, schemars};

use super::ALLOTMENTS;
use super::claiming::{Claimed, claim};
use super::creating::{OPEN_MAX, create};
use super::shown::{ShownSale, shown};
use crate::domain::{ClaimStatus, FlashClaim, FlashSale, SaleRow};

/// The most sales of a page, and the default. There are no more sales that have not ended, so the
/// first page shows all of them.
const PAGE: usize = OPEN_MAX;
/// The name of the list in its cursors.
const LIST: &str = "flash-sales";
/// The claims of a log that are compared with a claim that the store does not have.
const SEARCHED_MAX: usize = 1_000;

/// Builds the routes.
pub(crate) fn routes() -> Routes<crate::State> {
    Routes::new()
        .route(
            "/api/v1/flash-sales",
            get(list)
                .summary("Lists the flash sales that have not ended or ended within the last day")
                .description("The sale that ends last comes first.")
                .answers::<Listed>(200)
                .problem(400, "bad_cursor", "The cursor is from another list."),
        )
        .route(
            "/api/v1/flash-sales/{id}/claims",
            plain::post(claim)
                .priority(Priority::Low)
                .summary("Claims a unit of a flash sale")
                .description(
                    "The cache decides. An accepted claim is no unit yet: the store confirms or \
                     rejects it, unless the cache loses it before.",
                )
                .answers::<Claimed>(202)
                .problem(409, "sold_out", "No unit is left.")
                .problem(
                    409,
                    "limit_reached",
                    "The caller has as many units as a user may have.",
                )
                .problem(
                    409,
                    "not_open",
                    "The sale is not open yet, or not any more.",
                )
                .problem(413, "body_too_large", "The body is larger than 64 KiB.")
                .problem(
                    429,
                    "too_many_claims",
                    "The caller claims more than 10 times a second.",
                )
                .problem(503, "sale_paused", "The cache cannot decide at the moment.")
                .problem(503, "overloaded", "Too many claims wait."),
        )
        .route(
            "/api/v1/flash-claims/{id}",
            get(show)
                .summary("Returns the status of a claim")
                .answers::<ShownClaim>(200),
        )
        .route(
            "/api/v1/admin/flash-sales",
            post(create)
                .summary("Creates a flash sale, whose units leave the general stock")
                .answers::<ShownSale>(201)
                .problem(
                    409,
                    "insufficient_stock",
                    "Fewer units can be sold than are allocated.",
                )
                .problem(409, "too_many_sales", "100 sales are scheduled or open."),
        )
}

/// The query of `GET /flash-sales`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Page {
    /// The `next_cursor` of the previous page.
    cursor: Option<Cursor>,
    /// The number of sales on the page.
    #[schemars(range(min = 1, max = PAGE), extend("default" = PAGE))]
    limit: Option<usize>,
}

/// A page of flash sales, by their end, the latest first.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "FlashSales")]
struct Listed {
    items: Vec<ShownSale>,
    /// The cursor of the next page; `null` on the last page.
    next_cursor: Option<Cursor>,
}

/// `GET /flash-sales`.
///
/// # Errors
///
/// 422 if the limit is out of bounds; 400 `bad_cursor` if the cursor is invalid.
async fn list(reads: Reads, Query(page): Query<Page>) -> Result<Response, Problem> {
    let limit = page.limit.unwrap_or(PAGE);
    if !(1..=PAGE).contains(&limit) {
        return Err(Problem::invalid("/limit", format!("1 to {PAGE}")));
    }
    let after = page.cursor.map(|cursor| cursor.position(LIST));
    let after = after.transpose()?;
    let recent = reads.runtime().now() - ClaimKey::RECOGNIZED_FOR;
    let (sales, next) = ending(&reads, recent, true, after, limit).await?;
    // The cache answers for all open sales at once.
    let items = sales.into_iter().map(|(id, sale)| shown(&reads, id, sale));
    let items = join_all(items).await;
    let next_cursor = next.map(|position| Cursor::new(LIST, &position));
    Ok(ok(&Listed { items, next_cursor }).into_response())
}

/// Returns one page of the sales that end at this time or later, and the position of the next page.
async fn ending(
    reads: &Reads,
    from: Timestamp,
    descending: bool,
    after: Option<Position>,
    limit: usize,
) -> Result<(Vec<(SaleId, FlashSale)>, Option<Position>)> {
    let by_end = Select::Range {
        column: Name::new(SaleRow::CLOSES_AT),
        from: from.to_string(),
        until: None,
        descending,
    };
    let page = reads.rows::<SaleRow>(by_end, after, limit).await?;
    let ids = page.rows.iter().filter_map(|(key, _)| key.parse().ok());
    let ids: Vec<SaleId> = ids.collect();
    let mut sales = Vec::with_capacity(ids.len());
    for (id, sale) in ids.iter().zip(reads.entities_of::<FlashSale>(&ids).await?) {
        sales.extend(sale?.map(|sale| (*id, sale)));
    }
    Ok((sales, page.next))
}

/// Returns the sale whose key has signed a claim of this user; `None` if there is none.
async fn sale_of(
    reads: &Reads,
    claim: ClaimId,
    user: UserId,
) -> Result<Option<(SaleId, FlashSale)>> {
    let from = ClaimKey::earliest_end(claim, reads.runtime().now());
    let mut after = None;
    loop {
        let (sales, next) = ending(reads, from, false, after, PAGE).await?;
        let has_signed =
            |(id, sale): &(SaleId, FlashSale)| sale.terms.key.has_signed(claim, *id, user);
        if let Some(sale) = sales.into_iter().find(has_signed) {
            return Ok(Some(sale));
        }
        after = next;
        if after.is_none() {
            return Ok(None);
        }
    }
}

/// The status of a claim, as its user sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "FlashClaimStatus")]
enum ShownStatus {
    /// The store has not decided.
    Pending,
    /// The claim can be ordered.
    Confirmed,
    /// The claim was not ordered in time, or was lost.
    Expired,
    /// The store refused the claim.
    Rejected,
    /// The claim was ordered.
    Ordered,
}

/// A claim on a unit of a flash sale.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "FlashClaim")]
struct ShownClaim {
    claim_id: ClaimId,
    status: ShownStatus,
    expires_at: Timestamp,
}

async fn show(
    Caller(session): Caller,
    Path(claim_id): Path<ClaimId>,
    reads: Reads,
) -> Result<Response, Problem> {
    let user_id = UserId(session.user_id);
    if let Some(claim) = reads.entity::<FlashClaim>(&claim_id).await? {
        return recorded(claim_id, claim, user_id, reads.runtime().now());
    }
    let sale = sale_of(&reads, claim_id, user_id).await?;
    let (sale_id, sale) = sale.ok_or_else(Problem::not_found)?;
    let waits = waits(&reads, sale_id, claim_id).await;
    // The claim may have left the log because the store has it now.
    if let Some(claim) = reads.entity::<FlashClaim>(&claim_id).await? {
        return recorded(claim_id, claim, user_id, reads.runtime().now());
    }
    let expires_at = ClaimKey::time(claim_id) + sale.terms.claim_ttl();
    let status = if waits && reads.runtime().now() < expires_at {
        ShownStatus::Pending
    } else {
        ShownStatus::Expired
    };
    let claim = ShownClaim {
        claim_id,
        status,
        expires_at,
    };
    Ok(ok(&claim).into_response())
}

/// Returns a recorded claim, if it is the caller's.
fn recorded(
    claim_id: ClaimId,
    claim: FlashClaim,
    user_id: UserId,
    now: Timestamp,
) -> Result<Response, Problem> {
    if claim.user_id != user_id {
        return Err(Problem::not_found());
    }
    let status = match claim.status {
        ClaimStatus::Confirmed if now < claim.expires_at => ShownStatus::Confirmed,
        ClaimStatus::Confirmed | ClaimStatus::Expired => ShownStatus::Expired,
        ClaimStatus::Rejected => ShownStatus::Rejected,
        ClaimStatus::Ordered { .. } | ClaimStatus::Sold { .. } | ClaimStatus::Returned { .. } => {
            ShownStatus::Ordered
        }
    };
    let claim = ShownClaim {
        claim_id,
        status,
        expires_at: claim.expires_at,
    };
    Ok(ok(&claim).into_response())
}

/// Returns whether a claim is, or may be, in the log of its sale.
async fn waits(reads: &Reads, sale_id: SaleId, claim_id: ClaimId) -> bool {
    let sale = sale_id.to_string();
    match ALLOTMENTS.claims(reads, &sale, SEARCHED_MAX).await {
        Ok(Some(log)) => {
            let id = claim_id.to_string();
            log.waiting > SEARCHED_MAX as u64 || log.entries.iter().any(|entry| entry.id == id)
        }
        Ok(None) => false,
        Err(_) => true,
    }
}
