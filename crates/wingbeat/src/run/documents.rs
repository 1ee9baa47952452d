//! `/openapi.json` and `/asyncapi.json`.

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use crate::describe::{self, Info, System};
use crate::http::{Routes, get};

/// Both documents, as they are served.
#[derive(Clone)]
struct Documents {
    openapi: String,
    asyncapi: String,
}

const JSON: &str = "application/json";

/// The routes `/openapi.json` and `/asyncapi.json`, with the documents of this system.
pub fn documents(system: System, info: &Info) -> Router {
    let routes = routes();
    let system = system.operations(routes.operations().iter().cloned());
    let documents = Documents {
        openapi: describe::openapi(&system, info).to_string(),
        asyncapi: describe::asyncapi(&system, info).to_string(),
    };
    routes.with_state(documents).into_router()
}

fn routes() -> Routes<Documents> {
    Routes::new()
        .route(
            "/openapi.json",
            get(openapi)
                .summary("The HTTP routes (OpenAPI 3.1)")
                .answers::<Value>(200),
        )
        .route(
            "/asyncapi.json",
            get(asyncapi)
                .summary("The messages (AsyncAPI 3.0)")
                .answers::<Value>(200),
        )
        .tag("documents")
}

async fn openapi(State(documents): State<Documents>) -> Response {
    ([(header::CONTENT_TYPE, JSON)], documents.openapi).into_response()
}

async fn asyncapi(State(documents): State<Documents>) -> Response {
    ([(header::CONTENT_TYPE, JSON)], documents.asyncapi).into_response()
}
