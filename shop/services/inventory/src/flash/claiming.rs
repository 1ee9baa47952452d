//! `POST /flash-sales/{id}/claims`: a claim, decided by the cache. Only a process that has just
//! started reads the store, once for a sale.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::extract;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use shop_contracts::{ClaimId, SaleId, UserId};
use wingbeat::cache::{Claim, Decision, Durability};
use wingbeat::http::{Caller, IdempotencyKey, Path, Problem, accepted, read_body};
use wingbeat::{JsonSchema, Reads, schemars};

use super::ALLOTMENTS;
use crate::State;
use crate::domain::SaleTerms;

/// Claims of one user in [`RATE_WINDOW`].
const RATE_MAX: u64 = 10;
const RATE_WINDOW: Duration = Duration::from_secs(1);
/// The number of claims that one process decides at once. It answers further ones with 503 and
/// `Retry-After`.
const IN_FLIGHT_MAX: usize = 1_024;

/// The number of claims that this process is deciding.
#[derive(Clone, Debug, Default)]
pub struct InFlight(Arc<AtomicUsize>);

/// A claim that is being decided. Dropping it ends it.
struct Turn<'a>(&'a InFlight);

impl InFlight {
    fn enter(&self) -> Option<Turn<'_>> {
        let turn = Turn(self);
        (self.0.fetch_add(1, Ordering::Relaxed) < IN_FLIGHT_MAX).then_some(turn)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An accepted claim. It is no unit until the store has confirmed it.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "FlashClaimAccepted")]
pub(super) struct Claimed {
    claim_id: ClaimId,
}

/// The answer to a claim with an idempotency key.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// The SHA-256 hash of the canonical body.
    body: String,
    claim_id: ClaimId,
}

/// `POST /flash-sales/{id}/claims`.
///
/// # Errors
///
/// 404 if there is no such sale; 409 `sold_out`, `limit_reached` or `not_open`; 429
/// `too_many_claims`; 503 `sale_paused` while the cache is unavailable or has lost the sale; 503
/// `overloaded` if too many claims wait.
pub(super) async fn claim(
    extract::State(state): extract::State<State>,
    Caller(session): Caller,
    Path(sale_id): Path<SaleId>,
    key: Option<IdempotencyKey>,
    reads: Reads,
    body: Body,
) -> Result<Response, Problem> {
    let _turn = state.in_flight.enter().ok_or_else(overloaded)?;
    let user_id = UserId(session.user_id);
    if state.config.rate_limits {
        let hits = reads
            .cache()
            .hit(&format!("flash-claims:{user_id}"), RATE_WINDOW);
        if hits.await.map_err(paused)? > RATE_MAX {
            let detail = "at most 10 claims in a second";
            return Err(Problem::new(429, "too_many_claims", detail).retry_after(1));
        }
    }
    let terms = state.sales.terms(&reads, sale_id).await.map_err(paused)?;
    let terms = terms.ok_or_else(Problem::not_found)?;
    let caller = Claimant {
        reads: &reads,
        sale_id,
        user_id,
        terms: &terms,
    };
    let claim_id = match key {
        Some(IdempotencyKey(key)) => caller.claim_once(&key, body).await?,
        None => caller.claim(None).await?,
    };
    let path = format!("/api/v1/flash-claims/{claim_id}");
    let reply = accepted(&Claimed { claim_id }).location(path);
    Ok(reply.into_response())
}

/// A user who claims a unit of a sale.
struct Claimant<'a> {
    reads: &'a Reads,
    sale_id: SaleId,
    user_id: UserId,
    terms: &'a SaleTerms,
}

impl Claimant<'_> {
    /// Claims a unit, once for each key.
    async fn claim_once(&self, key: &str, body: Body) -> Result<ClaimId, Problem> {
        let body = IdempotencyKey::hash_of(&read_body(body).await?);
        let (sale, user) = (self.sale_id, self.user_id);
        let operation = hex::encode(Sha256::digest(format!("{sale}\n{user}\n{key}")));
        let kept_key = format!("flash-answer:{operation}");
        let cache = self.reads.cache();
        if let Some(kept) = cache.get(&kept_key).await.map_err(paused)?
            && let Ok(kept) = wingbeat::decode::<Kept>(&kept)
        {
            if kept.body == body {
                return Ok(kept.claim_id);
            }
            return Err(IdempotencyKey::reused());
        }
        let claim_id = self.claim(Some(operation)).await?;
        let kept = wingbeat::serde_json::to_vec(&Kept { body, claim_id });
        let kept = kept.expect("ids and texts always encode").into();
        // The allotment knows the operation too. It may be lost, and this answer is not.
        let ttl = IdempotencyKey::KEPT_FOR;
        let put = cache.put(&kept_key, kept, ttl, Durability::Restart);
        put.await.map_err(paused)?;
        Ok(claim_id)
    }

    async fn claim(&self, operation: Option<String>) -> Result<ClaimId, Problem> {
        let (runtime, now) = (self.reads.runtime(), self.reads.runtime().now());
        if now >= self.terms.closes_at {
            return Err(not_open()); // The cache may have forgotten the sale.
        }
        let claim_id = self
            .terms
            .key
            .sign(self.sale_id, self.user_id, now, runtime.random());
        let claim = Claim {
            holder: self.user_id.to_string(),
            id: claim_id.to_string(),
            operation,
        };
        let sale = self.sale_id.to_string();
        let decided = ALLOTMENTS.claim(self.reads, &sale, claim).await;
        match decided.map_err(paused)? {
            Decision::Granted => Ok(claim_id),
            Decision::Repeated(id) => id.parse().map_err(|_| pausing()),
            Decision::SoldOut => Err(Problem::new(409, "sold_out", "no unit is left")),
            Decision::LimitReached => {
                let detail = format!("at most {} for each user", self.terms.per_user);
                Err(Problem::new(409, "limit_reached", detail))
            }
            Decision::NotOpen => Err(not_open()),
            Decision::LogFull => Err(overloaded()),
            Decision::Unknown if now < self.terms.opens_at => Err(not_open()),
            Decision::Unknown => Err(pausing()),
        }
    }
}

fn not_open() -> Problem {
    Problem::new(409, "not_open", "the sale is not open")
}

fn pausing() -> Problem {
    let detail = "the sale is paused for a moment; try again";
    Problem::new(503, "sale_paused", detail).retry_after(1)
}

/// The cache does not answer. The crowd would fill the log with one line each.
fn paused(why: wingbeat::Error) -> Problem {
    tracing::debug!(code = why.code(), "a claim was not decided: {why}");
    pausing()
}

fn overloaded() -> Problem {
    let detail = "too many claims at once; try again";
    Problem::new(503, "overloaded", detail).retry_after(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_decides_a_limited_number_of_claims_at_once() {
        let in_flight = InFlight::default();
        let turns: Vec<_> = (0..IN_FLIGHT_MAX).map(|_| in_flight.enter()).collect();
        assert!(turns.iter().all(Option::is_some));
        assert!(in_flight.enter().is_none());
        drop(turns);
        assert!(in_flight.enter().is_some());
    }
}
