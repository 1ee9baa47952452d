//! The sale and its crowd.

use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use serde::Deserialize;
use serde_json::json;
use tokio::task::JoinSet;

use super::buyer::buy;
use super::report::Report;
use super::rush::{Plan, Rush};
use crate::http::Call;
use crate::shop::parsed;
use crate::{Error, Shop, Shopper};

/// Shoppers that one request creates, so that a slow machine answers in time.
const SHOPPERS_MAX: u32 = 100;
/// The time beyond the longest duration for which the sale is open.
const OPEN_AFTER: Duration = Duration::from_secs(60);

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
    let rush = Arc::new(Rush::new(&sale, plan, bar));
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
