//! The customer's routes, and the handlers of the list, of a single order and of a cancel.

use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use shop_contracts::{Line, Money, OrderId, OrderStatus};
use wingbeat::http::{
    Caller, Cursor, Path, Problem, Query, Reply, Routes, accepted, get, ok, post,
};
use wingbeat::overload::Priority;
use wingbeat::store::Select;
use wingbeat::{Effects, JsonSchema, Name, Reads, Repo, Scope, Timestamp, schemars};

use crate::domain::Order;
use crate::messages::CancelCheckout;
use crate::placing::{self, PlacedReply};
use crate::stream;
use crate::views::{BY_USER, OrderRow};

/// Builds the routes of the service.
pub fn routes() -> Routes<crate::State> {
    Routes::new()
        .route(
            "/api/v1/orders",
            post(placing::place)
                .idempotent()
                .summary("Places an order")
                .description(
                    "An accepted order is durable: it will be fulfilled, rejected or cancelled. The \
                     header `Location` names it.",
                )
                .answers::<PlacedReply>(202)
                .problem(404, "not_found", "There is no such flash claim.")
                .problem(409, "price_changed", "The total is not `expected_total`.")
                .problem(409, "claim_pending", "The flash claim is not confirmed yet.")
                .problem(409, "claim_expired", "The flash claim was not ordered in time.")
                .problem(409, "claim_used", "Another order uses the flash claim.")
                .problem(422, "cart_empty", "The cart is empty.")
                .problem(503, "cart_not_ready", "The last change of the cart has not arrived yet."),
        )
        .route(
            "/api/v1/orders",
            get(list)
                .summary("Lists the caller's orders, newest first")
                .answers::<Listed>(200)
                .problem(400, "bad_cursor", "The cursor is from another list."),
        )
        .route(
            "/api/v1/orders/{id}",
            get(show)
                .summary("Returns an order, for an administrator also as of a time")
                .answers::<Shown>(200)
                .problem(403, "forbidden", "Only an administrator may read the past."),
        )
        .route(
            "/api/v1/orders/{id}/cancel",
            post(cancel)
                .priority(Priority::Essential)
                .summary("Cancels an order until it is dispatched")
                .answers::<Cancelled>(202)
                .problem(409, "not_cancellable", "The order is dispatched or has ended."),
        )
        .route(
            "/api/v1/stream",
            get(stream::stream)
                .summary("Streams the changes of the caller's orders as server-sent events")
                .reads_header("Last-Event-ID", "The id of the last event that the caller has seen.")
                .answers_text(200, "text/event-stream")
                .problem(429, "too_many_streams", "The caller has too many open streams."),
        )
}

/// The reply to a cancellation.
#[derive(Serialize, JsonSchema)]
struct Cancelled {
    order_id: OrderId,
    status: OrderStatus,
}

/// `POST /orders/{id}/cancel`.
///
/// # Errors
///
/// 404 if the caller has no such order; 409 `not_cancellable` if it can no longer be cancelled.
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
                "the order can no longer be cancelled",
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

/// An order.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Order")]
struct Shown {
    order_id: String,
    status: OrderStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<shop_contracts::RejectReason>,
    payment_delayed: bool,
    /// Absent in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    lines: Option<Vec<Line>>,
    subtotal: Money,
    discount: Money,
    total: Money,
    placed_at: Timestamp,
    updated_at: Timestamp,
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

/// The query of `GET /orders/{id}`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Past {
    /// The time of the state to return, for an administrator. The default is now.
    as_of: Option<Timestamp>,
}

/// `GET /orders/{id}`.
///
/// # Errors
///
/// 404 if the caller has no such order, or if it was placed after `as_of`; 403 if a caller who is
/// no administrator sends `as_of`.
pub async fn show(
    reads: Reads,
    Caller(session): Caller,
    Path(id): Path<OrderId>,
    Query(past): Query<Past>,
) -> Result<Response, Problem> {
    if let Some(at) = past.as_of {
        if !session.admin {
            let detail = "only the admin may read the past";
            return Err(Problem::new(403, "forbidden", detail));
        }
        let order = reads.aggregate_as_of::<Order>(&id, at).await?;
        let row = order.and_then(|order| OrderRow::of(&id.to_string(), &order));
        return Ok(ok(&shown(row.ok_or_else(Problem::not_found)?, true)).into_response());
    }
    let row = reads
        .row::<OrderRow>(&id.to_string())
        .await?
        .filter(|row| row.user_id.0 == session.user_id);
    Ok(ok(&shown(row.ok_or_else(Problem::not_found)?, true)).into_response())
}

/// The default number of orders on a page.
const LIMIT: usize = 20;
/// The name of the list in its cursors.
const LIST: &str = "orders";

/// The query of `GET /orders`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// The `next_cursor` of the previous page.
    cursor: Option<Cursor>,
    /// The number of orders on the page.
    #[schemars(range(min = 1, max = 100), extend("default" = LIMIT))]
    limit: Option<usize>,
}

/// A page of orders.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Orders")]
struct Listed {
    items: Vec<Shown>,
    /// The cursor of the next page; `null` on the last page.
    next_cursor: Option<Cursor>,
}

/// `GET /orders`, newest first.
///
/// # Errors
///
/// 422 if the limit is out of bounds; 400 `bad_cursor` if the cursor is invalid.
pub async fn list(
    reads: Reads,
    Caller(session): Caller,
    Query(page): Query<Page>,
) -> Result<Response, Problem> {
    let limit = page.limit.unwrap_or(LIMIT);
    if !(1..=100).contains(&limit) {
        return Err(Problem::invalid("/limit", "1 to 100"));
    }
    let mine = format!("{}|", session.user_id);
    let after = page
        .cursor
        .map(|cursor| cursor.position(LIST))
        .transpose()?;
    let select = Select::Prefix {
        column: Name::new(BY_USER),
        prefix: mine,
        descending: true,
    };
    let listed = reads.rows::<OrderRow>(select, after, limit).await?;
    let next_cursor = listed.next.map(|position| Cursor::new(LIST, &position));
    let items = listed
        .rows
        .into_iter()
        .map(|(_, row)| shown(row, false))
        .collect();
    Ok(ok(&Listed { items, next_cursor }).into_response())
}
