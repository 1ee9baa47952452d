//! The sale and its crowd.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use indicatif::ProgressBar;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinSet;

use super::buyer::buy;
use super::report::Report;
use crate::http::Call;
use crate::shop::parsed;
use crate::traffic::Percentiles;
use crate::{Error, Shop, Shopper};

/// Requests at once. Further buyers wait for their turn, like behind a load balancer.
const TURNS: usize = 256;
/// Shoppers that one request creates.
const SHOPPERS_MAX: u32 = 10_000;
/// The time beyond the longest duration for which the sale is open.
const OPEN_AFTER: Duration = Duration::from_secs(60);

/// The sale.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The buyers.
    pub buyers: u32,
    /// The units.
    pub units: u32,
    /// The longest duration.
    pub within: Duration,
}

/// The state that all buyers share.
pub(super) struct Rush {
    claims_path: String,
    units: u32,
    until: Instant,
    turns: Semaphore,
    claimed: AtomicU32,
    confirmed: AtomicU32,
    paid: AtomicU32,
    refused: AtomicU32,
    reserve: AtomicU32,
    times: Mutex<Histogram<u64>>,
    bar: ProgressBar,
}

impl Rush {
    pub(super) fn claims_path(&self) -> &str {
        &self.claims_path
    }

    /// Returns whether no buyer needs to claim any more: all units are paid, or the time is over.
    pub(super) fn is_over(&self) -> bool {
        get(&self.paid) >= self.units || self.is_late()
    }

    /// Returns whether the time is over. Until then, all claims are followed to their end, also
    /// those beyond the units.
    pub(super) fn is_late(&self) -> bool {
        Instant::now() >= self.until
    }

    /// Waits until the buyer may send a request.
    pub(super) async fn turn(&self) -> SemaphorePermit<'_> {
        let turn = self.turns.acquire().await;
        turn.expect("the semaphore is never closed")
    }

    /// Returns whether a buyer who found the sale sold out waits for units that come back. There is
    /// one such buyer for each unit.
    pub(super) fn joins_reserve(&self) -> bool {
        add(&self.reserve) < self.units
    }

    pub(super) fn decided(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let mut times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        times.saturating_record(micros);
    }

    pub(super) fn claimed(&self) {
        add(&self.claimed);
        self.tell();
    }

    pub(super) fn confirmed(&self) {
        add(&self.confirmed);
        self.tell();
    }

    pub(super) fn paid(&self) {
        add(&self.paid);
        self.bar.inc(1);
    }

    pub(super) fn refused(&self) {
        add(&self.refused);
        self.tell();
    }

    fn tell(&self) {
        let (claimed, confirmed) = (get(&self.claimed), get(&self.confirmed));
        let refused = get(&self.refused);
        self.bar.set_message(format!(
            "{claimed} claimed, {confirmed} confirmed, {refused} refused"
        ));
    }

    fn report(&self, plan: &Plan, took: Duration) -> Report {
        let paid = get(&self.paid);
        let times = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        Report {
            buyers: plan.buyers,
            units: plan.units,
            claimed: get(&self.claimed),
            confirmed: get(&self.confirmed),
            paid,
            refused: get(&self.refused),
            oversold: paid.saturating_sub(plan.units),
            undersold: plan.units.min(plan.buyers).saturating_sub(paid),
            seconds: took.as_secs_f64(),
            claim_ms: Percentiles::of(&times),
        }
    }
}

fn get(counter: &AtomicU32) -> u32 {
    counter.load(Ordering::Relaxed)
}

fn add(counter: &AtomicU32) -> u32 {
    counter.fetch_add(1, Ordering::Relaxed)
}

/// Creates a sale, lets the buyers buy, and returns the report.
///
/// # Errors
///
/// The [`Error`] of a request outside of the rush: the products, the sale, or the shoppers.
pub async fn drive(
    shop: &Shop,
    admin: &Shopper,
    plan: &Plan,
    bar: &ProgressBar,
) -> Result<Report, Error> {
    let mut buyers = Vec::new();
    while buyers.len() < plan.buyers as usize {
        let missing = plan.buyers as usize - buyers.len();
        let count = missing.min(SHOPPERS_MAX as usize);
        buyers.extend(shop.shoppers(count).await?);
    }
    let sale = create(shop, admin, plan).await?;
    let begun = Instant::now();
    let rush = Arc::new(Rush {
        claims_path: format!("/api/v1/flash-sales/{sale}/claims"),
        units: plan.units,
        until: begun + plan.within,
        turns: Semaphore::new(TURNS),
        claimed: AtomicU32::new(0),
        confirmed: AtomicU32::new(0),
        paid: AtomicU32::new(0),
        refused: AtomicU32::new(0),
        reserve: AtomicU32::new(0),
        times: Mutex::new(
            Histogram::new_with_bounds(1, 600_000_000, 3).expect("the bounds are valid"),
        ),
        bar: bar.clone(),
    });
    let mut crowd = JoinSet::new();
    for buyer in buyers {
        crowd.spawn(buy(buyer, Arc::clone(&rush)));
    }
    while crowd.join_next().await.is_some() {}
    Ok(rush.report(plan, begun.elapsed()))
}

#[derive(Deserialize)]
struct Sale {
    id: String,
}

/// Creates a sale of the product of which most units can be sold.
async fn create(shop: &Shop, admin: &Shopper, plan: &Plan) -> Result<String, Error> {
    let products = shop.products().await?;
    let most = products.into_iter().max_by_key(|product| product.available);
    let sku = most.map(|product| product.sku).unwrap_or_default();
    let now = jiff::Timestamp::now();
    let closes_at = now + (plan.within + OPEN_AFTER);
    let sale = json!({
        "sku": sku, "price": {"amount_minor": 100, "currency": "EUR"},
        "allocation": plan.units, "per_user": 1,
        "opens_at": now.to_string(), "closes_at": closes_at.to_string(), "claim_ttl_s": 60,
    });
    let call = Call::post("/api/v1/admin/flash-sales").json(&sale);
    let answer = admin.ask(call).await?;
    let sale: Sale = parsed("POST /admin/flash-sales", 201, &answer)?;
    Ok(sale.id)
}
