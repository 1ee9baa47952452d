//! The customer's routes.

use axum::Extension;
use serde::Serialize;
use shop_contracts::UserId;
use wingbeat::http::{Caller, Problem, Reply, Routes, get, ok};
use wingbeat::{JsonSchema, Reads, schemars};

use crate::views::{self, Item};

/// The service's routes.
pub fn routes() -> Routes<crate::State> {
    Routes::new().route(
        "/api/v1/samples",
        get(ratings)
            .summary("The caller's ratings")
            .answers::<Items>(200),
    )
}

/// The ratings of a user.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Samples")]
struct Items {
    items: Vec<Item>,
}

async fn ratings(
    Caller(session): Caller,
    Extension(reads): Extension<Reads>,
) -> Result<Reply, Problem> {
    let items = views::of_user(&reads, UserId(session.user_id)).await?;
    Ok(ok(&Items { items }))
}
