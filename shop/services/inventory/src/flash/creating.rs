//! `POST /admin/flash-sales`: the admin's new sale.

use std::time::Duration;

use serde::Deserialize;
use shop_contracts::inventory::FlashSaleCreated;
use shop_contracts::{ClaimKey, Price, SaleId, Sku};
use wingbeat::cache::Count;
use wingbeat::http::{Admin, FieldError, IdempotencyKey, Json, Problem, Reply, created};
use wingbeat::store::Select;
use wingbeat::{Effects, JsonSchema, Name, Reads, Scope, Table, Timestamp, schemars};

use super::open_sales::{allotted, announce};
use super::shown::shown;
use super::{ALLOTMENTS, ALLOTTED_AFTER, Units};
use crate::domain::{FlashSale, SaleRow, SaleTerms};
use crate::prices::PriceCopy;

/// The most sales that are scheduled or open. A process tends all of them, and looks a claim
/// without a record up in all of them. Sales that are created at once may exceed it.
pub(super) const OPEN_MAX: usize = 100;
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
/// The longest time from the creation of a sale to its start. The services and the cache store a
/// sale until its end.
const AHEAD_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// A new flash sale.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewSale {
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
        let is_soon = self.opens_at <= now + AHEAD_MAX;
        check(is_soon, "/opens_at", "at most 366 days from now".into());
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
pub(super) async fn create(
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
    if open_sales(&reads).await? >= OPEN_MAX {
        let detail = format!("{OPEN_MAX} sales are scheduled or open; wait until one has ended");
        return Err(Problem::new(409, "too_many_sales", detail));
    }
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

/// Counts the sales that are not closed, up to the maximum.
async fn open_sales(reads: &Reads) -> wingbeat::Result<usize> {
    let not_closed = Select::Prefix {
        column: Name::new(SaleRow::OPEN_UNTIL),
        prefix: String::new(),
        descending: false,
    };
    let page = reads.rows::<SaleRow>(not_closed, None, OPEN_MAX).await?;
    Ok(page.rows.len())
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
