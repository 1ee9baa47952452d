//! The customer's routes.

use axum::routing::get;
use axum::{Extension, Router};
use serde::Serialize;
use shop_contracts::UserId;
use wingbeat::Reads;
use wingbeat::http::{Caller, Problem, Reply, ok};

use crate::views::{self, Item};

/// The service's routes.
pub fn routes() -> Router<crate::State> {
    Router::new().route("/api/v1/samples", get(ratings))
}

#[derive(Debug, Serialize)]
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
