//! The routes of flash sales, except claims: the list, a claim's status, and the admin's new sale.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use shop_contracts::inventory::FlashSaleCreated;
use shop_contracts::{ClaimId, ClaimKey, Price, SaleId, Sku, UserId};
use wingbeat::cache::Count;
use wingbeat::http::{
    Admin, Caller, FieldError, IdempotencyKey, Json, Path, Problem, Reply, Routes, created, get,
    ok, plain, post,
};
use wingbeat::store::Select;
use wingbeat::{Effects, JsonSchema, Name, Reads, Result, Scope, Table, Timestamp, schemars};

use super::claiming::{Claimed, claim};
use super::open_sales::{allotted, announce};
use super::{ALLOTMENTS, ALLOTTED_AFTER, Units};
use crate::domain::{ClaimStatus, FlashClaim, FlashSale, SaleRow, SaleTerms};
use crate::prices::PriceCopy;

/// The largest allocation. The cache and each rebuild of its count hold a user for each unit.
const ALLOCATION_MAX: u32 = 100_000;
/// The most units of one user.
const PER_USER_MAX: u32 = 100;
/// The longest lifetime of a claim, in seconds.
const CLAIM_TTL_MAX: u32 = 24 * 3600;
/// The lifetime of a claim, in seconds, unless the sale has its own.
const CLAIM_TTL: u32 = 180;
/// The longest sale.
const SALE_MAX: Duration = Duration::from_secs(31 * 24 * 3600);
/// The time for which an ended sale is listed, and its lost claims are recognized.
const LISTED_AFTER: Duration = Duration::from_secs(24 * 3600);
/// The most listed sales.
const LISTED_MAX: usize = 100;
/// The claims of a log that are compared with a claim that the store does not have.
const SEARCHED_MAX: usize = 1_000;

/// Builds the routes.
pub(crate) fn routes() -> Routes<crate::State> {
    Routes::new()
        .route(
            "/api/v1/flash-sales",
            get(list)
                .summary("Lists the flash sales that have not ended or ended within the last day")
                .answers::<Listed>(200),
        )
        .route(
            "/api/v1/flash-sales/{id}/claims",
            plain::post(claim)
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
                ),
        )
}

/// The state of a sale.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum SaleState {
    /// It has not begun.
    Scheduled,
    /// Units can be claimed.
    Open,
    /// Claims are not decided at the moment: the cache is unavailable, or has lost the sale.
    Paused,
    /// No unit is left at the moment.
    SoldOut,
    /// It has ended.
    Closed,
}

/// A flash sale.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "FlashSale")]
struct ShownSale {
    id: SaleId,
    sku: Sku,
    price: Price,
    /// The units of the sale.
    allocation: u32,
    /// The units that can be claimed.
    left: u32,
    opens_at: Timestamp,
    closes_at: Timestamp,
    /// The most units of one user.
    per_user: u32,
    state: SaleState,
}

/// The flash sales, by their end.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "FlashSales")]
struct Listed {
    items: Vec<ShownSale>,
}

async fn list(reads: Reads) -> Result<Response, Problem> {
    let mut items = Vec::new();
    for (id, sale) in recent(&reads).await? {
        items.push(shown(&reads, id, sale).await);
    }
    Ok(ok(&Listed { items }).into_response())
}

/// Returns the sales that have not ended, or have ended in the last day.
async fn recent(reads: &Reads) -> Result<Vec<(SaleId, FlashSale)>> {
    let by_end = Select::Range {
        column: Name::new(SaleRow::CLOSES_AT),
        from: (reads.runtime().now() - LISTED_AFTER).to_string(),
        until: None,
        descending: false,
    };
    let page = reads.rows::<SaleRow>(by_end, None, LISTED_MAX).await?;
    let ids = page.rows.iter().filter_map(|(key, _)| key.parse().ok());
    let ids: Vec<SaleId> = ids.collect();
    let mut sales = Vec::with_capacity(ids.len());
    for (id, sale) in ids.iter().zip(reads.entities_of::<FlashSale>(&ids).await?) {
        sales.extend(sale?.map(|sale| (*id, sale)));
    }
    Ok(sales)
}

async fn shown(reads: &Reads, id: SaleId, sale: FlashSale) -> ShownSale {
    let (now, free) = (reads.runtime().now(), sale.free());
    let (left, state) = if sale.closed || now >= sale.terms.closes_at {
        (free, SaleState::Closed)
    } else if now < sale.terms.opens_at {
        (free, SaleState::Scheduled)
    } else {
        match ALLOTMENTS.claims(reads, &id.to_string(), 0).await {
            Ok(Some(log)) if log.left == 0 => (0, SaleState::SoldOut),
            Ok(Some(log)) => (u32::try_from(log.left).unwrap_or(free), SaleState::Open),
            Ok(None) | Err(_) => (free, SaleState::Paused),
        }
    };
    let SaleTerms {
        sku,
        price,
        allocation,
        per_user,
        opens_at,
        closes_at,
        ..
    } = sale.terms;
    ShownSale {
        id,
        sku,
        price,
        allocation,
        left,
        opens_at,
        closes_at,
        per_user,
        state,
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
    let sales = recent(&reads).await?;
    let mut signed = sales
        .into_iter()
        .filter(|(id, sale)| sale.terms.key.has_signed(claim_id, *id, user_id));
    let (sale_id, sale) = signed.next().ok_or_else(Problem::not_found)?;
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

/// A new flash sale.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NewSale {
    sku: Sku,
    /// The price of one unit. The product's current price by default.
    price: Option<Price>,
    #[schemars(range(min = 1, max = ALLOCATION_MAX))]
    allocation: u32,
    /// The most units of one user.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = PER_USER_MAX))]
    per_user: u32,
    opens_at: Timestamp,
    closes_at: Timestamp,
    /// The seconds in which a confirmed claim must be ordered.
    #[serde(default = "claim_ttl")]
    #[schemars(range(min = 1, max = CLAIM_TTL_MAX))]
    claim_ttl_s: u32,
}

fn one() -> u32 {
    1
}

fn claim_ttl() -> u32 {
    CLAIM_TTL
}

impl NewSale {
    fn check(&self, now: Timestamp) -> Result<(), Problem> {
        let mut errors = Vec::new();
        let mut check = |valid: bool, pointer: &str, message: String| {
            let (pointer, wrong) = (pointer.into(), !valid);
            errors.extend(wrong.then_some(FieldError { pointer, message }));
        };
        let allocation = 1..=ALLOCATION_MAX;
        let text = format!("1 to {ALLOCATION_MAX}");
        check(allocation.contains(&self.allocation), "/allocation", text);
        let text = format!("1 to {PER_USER_MAX}");
        check(
            (1..=PER_USER_MAX).contains(&self.per_user),
            "/per_user",
            text,
        );
        let text = format!("1 to {CLAIM_TTL_MAX}");
        check(
            (1..=CLAIM_TTL_MAX).contains(&self.claim_ttl_s),
            "/claim_ttl_s",
            text,
        );
        let is_later = self.closes_at > self.opens_at && self.closes_at > now;
        let text = "after `opens_at`, and in the future".into();
        check(is_later, "/closes_at", text);
        let is_short = self.closes_at.since(self.opens_at) <= SALE_MAX;
        check(
            is_short,
            "/closes_at",
            "at most 31 days after `opens_at`".into(),
        );
        if errors.is_empty() {
            return Ok(());
        }
        Err(Problem::fields(errors))
    }
}

/// `POST /admin/flash-sales`.
async fn create(
    (_, Json(new)): (Admin, Json<NewSale>),
    _key: Option<IdempotencyKey>,
    scope: Scope,
    reads: Reads,
    units: Units,
    prices: Table<PriceCopy>,
) -> Result<Reply, Problem> {
    let now = scope.now();
    new.check(now)?;
    let listed = prices.get(&new.sku).await?.map(|copy| copy.price);
    let Some(price) = new.price.or(listed) else {
        let message = "required: the price of the product is not known here";
        return Err(Problem::invalid("/price", message));
    };
    let id = SaleId(scope.new_id());
    let mut secret = [0; 32];
    reads.runtime().fill_secret(&mut secret);
    let terms = SaleTerms {
        sku: new.sku,
        price,
        allocation: new.allocation,
        per_user: new.per_user,
        opens_at: new.opens_at,
        closes_at: new.closes_at,
        claim_ttl_s: new.claim_ttl_s,
        key: ClaimKey::new(secret),
    };
    let reason = format!("moved to flash sale {id}");
    let level = units.shelves.move_out(&terms.sku, terms.allocation, reason);
    let Some(level) = level.await? else {
        let detail = format!("fewer than {} units can be sold", terms.allocation);
        return Err(Problem::new(409, "insufficient_stock", detail));
    };
    let sale = FlashSale::new(terms.clone());
    units.sales.put(&id, sale.clone())?;
    let mut effects = Effects::new();
    effects.publish(&level).publish(&created_event(id, &terms));
    scope.emit(effects)?;
    scope.correlate(id.0)?;
    open(&reads, id, &sale, now).await;
    let shown = shown(&reads, id, sale).await;
    Ok(created(&shown).location(format!("/api/v1/flash-sales/{id}")))
}

fn created_event(sale_id: SaleId, terms: &SaleTerms) -> FlashSaleCreated {
    FlashSaleCreated {
        sale_id,
        sku: terms.sku.clone(),
        price: terms.price,
        allocation: terms.allocation,
        per_user: terms.per_user,
        opens_at: terms.opens_at,
        closes_at: terms.closes_at,
        claim_ttl_s: terms.claim_ttl_s,
        claim_key: terms.key.clone(),
    }
}

/// Prepares the cache, so that the sale opens as soon as its creation is answered. Nobody knows the
/// id before. Without the cache, the sale is paused until the next scan.
async fn open(reads: &Reads, id: SaleId, sale: &FlashSale, now: Timestamp) {
    let count = Count {
        revision: sale.revision,
        free: sale.free().into(),
        holders: Vec::new(),
    };
    let ttl = sale.terms.closes_at.since(now) + ALLOTTED_AFTER;
    let key = id.to_string();
    let allot = ALLOTMENTS.allot(reads, &key, allotted(&sale.terms), count, ttl);
    let opened = match allot.await {
        Ok(()) => announce(reads, id, &sale.terms, now).await,
        failed => failed,
    };
    if let Err(why) = opened {
        let code = why.code();
        tracing::warn!(sale = key, code, "a new flash sale is paused: {why}");
    }
}
