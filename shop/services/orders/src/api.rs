//! The customer's routes but for placing: list, show, cancel.

use axum::Extension;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use shop_contracts::{Line, Money, OrderId, OrderStatus};
use wingbeat::http::{Caller, Path, Problem, Query, Reply, accepted, ok};
use wingbeat::store::{Position, Select};
use wingbeat::{Effects, Name, Reads, Repo, Scope};

use crate::domain::Order;
use crate::messages::CancelCheckout;
use crate::views::{BY_USER, OrderRow};

#[derive(Serialize)]
struct Cancelled {
    order_id: OrderId,
    status: OrderStatus,
}

/// `POST /orders/{id}/cancel`.
///
/// # Errors
///
/// 404 for somebody else's order, 409 once it cannot be called off.
pub async fn cancel(
    Path(order_id): Path<OrderId>,
    Caller(session): Caller,
    scope: Scope,
    orders: Repo<Order>,
) -> Result<Reply, Problem> {
    let order = orders
        .get(&order_id)
        .await?
        .ok_or_else(Problem::not_found)?;
    if order.placed.as_ref().map(|placed| placed.user_id.0) != Some(session.user_id) {
        return Err(Problem::not_found());
    }
    let status = match order.status() {
        status @ (OrderStatus::Cancelling | OrderStatus::Cancelled) => {
            return Ok(accepted(&Cancelled { order_id, status }));
        }
        OrderStatus::Shipped | OrderStatus::Completed | OrderStatus::Rejected => {
            return Err(Problem::new(
                409,
                "not_cancellable",
                "this order cannot be called off any more",
            ));
        }
        status => status,
    };
    scope.correlate(order_id.0)?;
    let mut effects = Effects::new();
    effects.send(&CancelCheckout { order_id });
    scope.emit(effects)?;
    Ok(accepted(&Cancelled { order_id, status }))
}

#[derive(Serialize)]
struct Shown {
    order_id: String,
    status: OrderStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<shop_contracts::RejectReason>,
    payment_delayed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    lines: Option<Vec<Line>>,
    subtotal: Money,
    discount: Money,
    total: Money,
    placed_at: wingbeat::Timestamp,
    updated_at: wingbeat::Timestamp,
}

fn shown(row: OrderRow, with_lines: bool) -> Shown {
    let OrderRow {
        order_id,
        status,
        reason,
        payment_delayed,
        lines,
        subtotal,
        discount,
        total,
        placed_at,
        updated_at,
        ..
    } = row;
    let lines = with_lines.then_some(lines);
    Shown {
        order_id,
        status,
        reason,
        payment_delayed,
        lines,
        subtotal,
        discount,
        total,
        placed_at,
        updated_at,
    }
}

/// `GET /orders/{id}`.
///
/// # Errors
///
/// 404 also for somebody else's order.
pub async fn show(
    Extension(reads): Extension<Reads>,
    Caller(session): Caller,
    Path(id): Path<OrderId>,
) -> Result<Response, Problem> {
    let row = reads
        .row::<OrderRow>(&id.to_string())
        .await?
        .filter(|row| row.user_id.0 == session.user_id);
    Ok(ok(&shown(row.ok_or_else(Problem::not_found)?, true)).into_response())
}

/// The query of `GET /orders`.
#[derive(Debug, Deserialize)]
pub struct Page {
    cursor: Option<String>,
    limit: Option<usize>,
}

#[derive(Serialize)]
struct Listed {
    items: Vec<Shown>,
    next_cursor: Option<String>,
}

/// `GET /orders`, newest first. The cursor is the id of the last order on the page before.
///
/// # Errors
///
/// 422 for a limit out of bounds, 400 for a bad cursor.
pub async fn list(
    Extension(reads): Extension<Reads>,
    Caller(session): Caller,
    Query(page): Query<Page>,
) -> Result<Response, Problem> {
    let limit = page.limit.unwrap_or(20);
    if !(1..=100).contains(&limit) {
        return Err(Problem::invalid("/limit", "1 to 100"));
    }
    let mine = format!("{}|", session.user_id);
    let after = match page.cursor {
        Some(cursor) => {
            let id: OrderId = cursor
                .parse()
                .map_err(|_| Problem::new(400, "bad_cursor", "this cursor is not one of ours"))?;
            Some(Position {
                value: format!("{mine}{id}"),
                key: id.to_string(),
            })
        }
        None => None,
    };
    let select = Select::Prefix {
        column: Name::new(BY_USER),
        prefix: mine,
        descending: true,
    };
    let listed = reads.rows::<OrderRow>(select, after, limit).await?;
    let next_cursor = listed.next.map(|position| position.key);
    let items = listed
        .rows
        .into_iter()
        .map(|(_, row)| shown(row, false))
        .collect();
    Ok(ok(&Listed { items, next_cursor }).into_response())
}
