//! The customer's routes.

use serde::Serialize;
use shop_contracts::UserId;
use wingbeat::http::{Caller, Problem, Reply, Routes, get, ok};
use wingbeat::{JsonSchema, Reads, schemars};

use crate::views::{self, Item};

/// Builds the routes of the service.
pub fn routes() -> Routes<crate::State> {
    Routes::new().route(
        "/api/v1/promotions",
        get(promotions)
            .summary("Lists the caller's promo codes")
            .answers::<Items>(200),
    )
}

/// The promo codes of a user.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Promotions")]
struct Items {
    items: Vec<Item>,
}

async fn promotions(Caller(session): Caller, reads: Reads) -> Result<Reply, Problem> {
    let now = reads.runtime().now();
    let items = views::of_user(&reads, UserId(session.user_id), now).await?;
    Ok(ok(&Items { items }))
}
