//! The timeline of an order, for its owner.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing;
use shop_contracts::OrderId;
use shop_gateway::Proxy;
use shop_orders::views::OrderRow;
use uuid::Uuid;
use wingbeat::CorrelationId;
use wingbeat::http::{Caller, Path, Problem, Routes, get, ok};
use wingbeat::run::Host;
use wingbeat::run::ops::{Asked, FanOut, Processes as _, Timeline, story};

/// The public route.
pub fn routes(host: Arc<Host>) -> Router {
    described().with_state(host).into_router()
}

/// The public route with its description. Set a host as its state.
pub(super) fn described() -> Routes<Arc<Host>> {
    Routes::new().route(
        "/api/v1/orders/{id}/timeline",
        get(timeline)
            .tag("orders")
            .summary("The messages, timers and calls of all services for an order")
            .answers::<Timeline>(200)
            .problem(404, "not_found", "The caller has no such order."),
    )
}

/// The public route of a gateway, for the services of all processes.
pub fn of_system(proxy: Arc<Proxy>, all: FanOut) -> Router {
    Router::new()
        .route("/api/v1/orders/{id}/timeline", routing::get(whole_timeline))
        .with_state((proxy, all))
}

async fn whole_timeline(
    State((proxy, all)): State<(Arc<Proxy>, FanOut)>,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    // The orders service decides whether the caller may read it.
    let order = Asked::get(format!("/api/v1/orders/{id}"), headers);
    let (status, body) = proxy.ask("orders", &order).await?;
    if status != StatusCode::OK {
        let problem = [(header::CONTENT_TYPE, "application/problem+json")];
        return Ok((status, problem, body).into_response());
    }
    Ok(ok(&all.story(CorrelationId(id)).await).into_response())
}

async fn timeline(
    State(host): State<Arc<Host>>,
    Caller(session): Caller,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let order: OrderId = id.parse().map_err(|_| Problem::not_found())?;
    let orders = host.reads("orders")?;
    let row = orders.row::<OrderRow>(&order.to_string()).await?;
    let row = row.filter(|row| row.user_id.0 == session.user_id);
    row.ok_or_else(Problem::not_found)?;
    Ok(ok(&story(&host, CorrelationId(order.0)).await).into_response())
}
