//! `/openapi.json` and `/asyncapi.json`.

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// The HTTP API.
const OPENAPI: &str = include_str!("openapi.json");

/// The routes.
pub fn routes() -> Router {
    Router::new().route("/openapi.json", get(|| async { json(OPENAPI) }))
}

fn json(text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}
