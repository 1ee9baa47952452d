//! The operator's API for the shop's administrator.

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::Response;
use wingbeat::http::{Admin, Problem, Routes};
use wingbeat::run::Host;
use wingbeat::run::ops::{FanOut, Operator, operator_routes};

/// The path of the operator's API.
const PATH: &str = "/api/v1/admin";

/// The routes under `/api/v1/admin`.
pub fn routes(host: Arc<Host>) -> Router {
    described().with_state(host).into_router()
}

/// The routes under `/api/v1/admin` for the services of all processes.
pub fn of_system(all: &FanOut) -> Router {
    let guarded = all.routes().route_layer(middleware::from_fn(admin_only));
    Router::new().nest(PATH, guarded)
}

/// The routes with their descriptions. Set a host as their state.
pub(super) fn described() -> Routes<Arc<Host>> {
    let guarded = operator_routes().route_layer(middleware::from_fn(admin_only));
    Routes::nest(PATH, guarded).reads::<Admin>()
}

/// Admits the administrator as the operator.
async fn admin_only(
    Admin(admin): Admin,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let operator = Operator(admin.user_id.to_string());
    request.extensions_mut().insert(operator);
    Ok(next.run(request).await)
}
