//! The admin's routes.

use serde::{Deserialize, Serialize};
use shop_contracts::Sku;
use shop_contracts::inventory::StockLevelChanged;
use wingbeat::http::{Admin, IdempotencyKey, Json, Path, Problem, Reply, Routes, accepted, post};
use wingbeat::{Effects, JsonSchema, schemars};

use crate::flash;
use crate::shelves::Shelves;

/// The largest change of one request. It is far beyond any warehouse, and far below an overflow.
const DELTA_MAX: i64 = 1_000_000_000;
/// The longest reason, in bytes.
const REASON_MAX: usize = 200;

/// Builds the routes of the service.
pub fn routes() -> Routes<crate::State> {
    flash::sales::routes().route(
        "/api/v1/admin/stock/{sku}",
        post(change_stock)
            .summary("Adds units to the stock, or removes units")
            .answers::<StockChanged>(202)
            .problem(
                409,
                "below_reserved",
                "Fewer units would be left than are reserved.",
            ),
    )
}

/// A change of the stock on hand.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StockChange {
    /// The units to add; negative to remove units; not 0.
    #[schemars(range(min = -DELTA_MAX, max = DELTA_MAX))]
    delta: i64,
    #[schemars(length(min = 1, max = REASON_MAX))]
    reason: String,
}

/// An accepted change of the stock on hand.
#[derive(Debug, Serialize, JsonSchema)]
struct StockChanged {
    sku: Sku,
    delta: i64,
}

impl StockChange {
    fn check(&self) -> Result<(), Problem> {
        if self.delta == 0 || self.delta.unsigned_abs() > DELTA_MAX.unsigned_abs() {
            let message = format!("1 to {DELTA_MAX} units, positive or negative");
            return Err(Problem::invalid("/delta", message));
        }
        let reason = self.reason.trim();
        if reason.is_empty() || reason.len() > REASON_MAX {
            return Err(Problem::invalid(
                "/reason",
                format!("1 to {REASON_MAX} bytes"),
            ));
        }
        Ok(())
    }
}

type ChangeRequest = (Admin, Path<Sku>, Json<StockChange>);

async fn change_stock(
    (_, Path(sku), Json(change)): ChangeRequest,
    _key: Option<IdempotencyKey>,
    shelves: Shelves,
    scope: wingbeat::Scope,
) -> Result<Reply, Problem> {
    change.check()?;
    let StockChange { delta, reason } = change;
    let level: Option<StockLevelChanged> = shelves
        .adjust(&sku, delta, reason)
        .await?
        .map_err(|refusal| Problem::new(409, "below_reserved", refusal.to_string()))?;
    let mut effects = Effects::new();
    if let Some(level) = &level {
        effects.publish(level);
    }
    scope.emit(effects)?;
    Ok(accepted(&StockChanged { sku, delta }))
}
