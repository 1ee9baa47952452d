//! A buyer: claims a unit, orders it, and waits until it is paid.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ::http::HeaderValue;
use serde::Deserialize;

use super::rush::Rush;
use crate::answers::{Placed, Problem, Status};
use crate::http::{Answer, Call};
use crate::shop::key;
use crate::{Order, Shopper};

/// The pause before a request is repeated.
const PAUSE: Duration = Duration::from_millis(100);
/// The pause before a buyer in reserve claims again.
const RESERVE_PAUSE: Duration = Duration::from_millis(250);

#[derive(Deserialize)]
struct Claimed {
    claim_id: String,
}

#[derive(Deserialize)]
struct ClaimStatus {
    status: String,
}

/// The outcome of a claim, as the shop sees it now.
enum Claim {
    Granted(String),
    SoldOut,
    Over,
}

/// Buys a unit. The buyer gives up when the sale is sold out, unless it is one of the reserve, and
/// when the time is over.
pub(super) async fn buy(shopper: Shopper, rush: Arc<Rush>) {
    let mut is_reserve = false;
    while !rush.is_over() {
        match claim(&shopper, &rush).await {
            Claim::Granted(claim_id) => {
                if is_confirmed(&shopper, &rush, &claim_id).await
                    && is_paid(&shopper, &rush, &claim_id).await
                {
                    rush.paid();
                    return;
                }
            }
            // Units may come back: a claim may be lost, and an order rejected.
            Claim::SoldOut if is_reserve || rush.joins_reserve() => {
                is_reserve = true;
                tokio::time::sleep(RESERVE_PAUSE).await;
            }
            Claim::SoldOut | Claim::Over => break,
        }
    }
    rush.refused();
}

/// Sends a request until there is a reply below 500 that is not 429. Returns `None` when the time
/// is over.
async fn asked(shopper: &Shopper, rush: &Rush, call: &Call<'_>) -> Option<Answer> {
    while !rush.is_late() {
        let turn = rush.turn().await;
        let answer = shopper.ask(call.clone()).await;
        drop(turn);
        match answer {
            Ok(answer) if answer.status.as_u16() < 500 && answer.status.as_u16() != 429 => {
                return Some(answer);
            }
            Ok(_) | Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
    None
}

async fn claim(shopper: &Shopper, rush: &Rush) -> Claim {
    // A claim without a reply is repeated with its key, so that it is one claim.
    let (key, path) = (key(), rush.claims_path());
    let call = Call::post(path).key(&key);
    let answer = loop {
        if rush.is_over() {
            return Claim::Over;
        }
        let turn = rush.turn().await;
        let begun = Instant::now();
        let answer = shopper.ask(call.clone()).await;
        drop(turn);
        match answer {
            Ok(answer) if answer.status.as_u16() < 500 && answer.status.as_u16() != 429 => {
                rush.decided(begun.elapsed());
                break answer;
            }
            Ok(_) | Err(_) => tokio::time::sleep(PAUSE).await,
        }
    };
    if answer.status.as_u16() == 202
        && let Ok(claimed) = serde_json::from_slice::<Claimed>(&answer.body)
    {
        rush.claimed();
        return Claim::Granted(claimed.claim_id);
    }
    let problem: Problem = serde_json::from_slice(&answer.body).unwrap_or_default();
    match problem.code.as_str() {
        // With `limit_reached`, the buyer's own claim is not expired yet.
        "sold_out" | "limit_reached" => Claim::SoldOut,
        _ => Claim::Over,
    }
}

/// Waits until the store has decided on a claim.
async fn is_confirmed(shopper: &Shopper, rush: &Rush, claim_id: &str) -> bool {
    let path = format!("/api/v1/flash-claims/{claim_id}");
    while let Some(answer) = asked(shopper, rush, &Call::get(&path)).await {
        let status = serde_json::from_slice::<ClaimStatus>(&answer.body);
        match status.map(|it| it.status).unwrap_or_default().as_str() {
            "confirmed" => {
                rush.confirmed();
                return true;
            }
            "pending" => tokio::time::sleep(PAUSE).await,
            _ => return false,
        }
    }
    false
}

/// Orders the unit of a claim, and waits until the order is paid.
async fn is_paid(shopper: &Shopper, rush: &Rush, claim_id: &str) -> bool {
    let (key, order): (HeaderValue, _) = (key(), Order::of_claim(claim_id));
    let call = Call::post("/api/v1/orders").key(&key).json(&order);
    let placed: Placed = loop {
        let Some(answer) = asked(shopper, rush, &call).await else {
            return false;
        };
        if answer.status.as_u16() == 202
            && let Ok(placed) = serde_json::from_slice(&answer.body)
        {
            break placed;
        }
        let problem: Problem = serde_json::from_slice(&answer.body).unwrap_or_default();
        if problem.code != "claim_pending" {
            return false;
        }
        tokio::time::sleep(PAUSE).await;
    };
    let path = format!("/api/v1/orders/{}", placed.order_id);
    while let Some(answer) = asked(shopper, rush, &Call::get(&path)).await {
        if let Ok(status) = serde_json::from_slice::<Status>(&answer.body)
            && (status.is_paid() || status.is_ended())
        {
            return status.is_paid();
        }
        tokio::time::sleep(PAUSE).await;
    }
    false
}
