//! What the gateway asks all services for: timelines, and the admin's looks at subscriptions, dead letters and
//! breakers. Each service answers for itself; one that is away is named in the answer.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::future::join_all;
use serde_json::{Value, json};
use shop_gateway::Proxy;
use uuid::Uuid;
use wingbeat::http::{Admin, Problem, ok};

use crate::timeline::{Timeline, in_order};

/// The routes.
pub fn routes(proxy: Arc<Proxy>) -> Router {
    Router::new()
        .route("/api/v1/orders/{id}/timeline", get(timeline))
        .route("/api/v1/admin/subscriptions", get(gathered))
        .route("/api/v1/admin/dead-letters", get(gathered))
        .route("/api/v1/admin/breakers", get(gathered))
        .route("/api/v1/admin/dead-letters/{id}", get(found))
        .route("/api/v1/admin/dead-letters/{id}/retry", post(found))
        .route("/api/v1/admin/dead-letters/{id}/discard", post(found))
        .with_state(proxy)
}

async fn timeline(
    State(proxy): State<Arc<Proxy>>,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    // Orders says whether the caller may know.
    let order = format!("/api/v1/orders/{id}");
    let (status, body) = proxy.get("orders", Method::GET, &order, &headers).await?;
    if status != StatusCode::OK {
        return Ok(as_told(status, body));
    }
    let path = format!("/internal/stories/{id}");
    let ask = async |service: &str| {
        let nobody = HeaderMap::new();
        let (status, body) = proxy.get(service, Method::GET, &path, &nobody).await.ok()?;
        let told: Timeline = serde_json::from_slice(&body).ok()?;
        (status == StatusCode::OK).then_some(told)
    };
    let mut whole = Timeline::default();
    let asked = proxy
        .services()
        .map(async |service| (service, ask(service).await));
    for (service, told) in join_all(asked).await {
        match told {
            Some(told) => {
                whole.items.extend(told.items);
                whole.away.extend(told.away);
            }
            None => whole.away.push(service.to_owned()),
        }
    }
    whole.items = in_order(whole.items);
    Ok(ok(&whole).into_response())
}

fn as_told(status: StatusCode, body: axum::body::Bytes) -> Response {
    let kind = match status.is_success() {
        true => "application/json",
        false => "application/problem+json",
    };
    (status, [(header::CONTENT_TYPE, kind)], body).into_response()
}

/// The lists of all services as one.
async fn gathered(
    _: Admin,
    State(proxy): State<Arc<Proxy>>,
    request: Request,
) -> Result<Response, Problem> {
    let path = request.uri().path().to_owned();
    let headers = request.headers().clone();
    let ask = async |service: &str| {
        let (status, body) = proxy
            .get(service, Method::GET, &path, &headers)
            .await
            .ok()?;
        let list: Value = serde_json::from_slice(&body).ok()?;
        let items = list["items"].as_array().cloned();
        items.filter(|_| status == StatusCode::OK)
    };
    let (mut items, mut away) = (Vec::new(), Vec::new());
    let asked = proxy
        .services()
        .map(async |service| (service, ask(service).await));
    for (service, list) in join_all(asked).await {
        match list {
            Some(list) => items.extend(list),
            None => away.push(service.to_owned()),
        }
    }
    let mut all = json!({ "items": items });
    if !away.is_empty() {
        all["away"] = json!(away);
    }
    Ok(ok(&all).into_response())
}

/// The answer of the service that knows it.
async fn found(
    _: Admin,
    State(proxy): State<Arc<Proxy>>,
    request: Request,
) -> Result<Response, Problem> {
    let (path, method) = (request.uri().path().to_owned(), request.method().clone());
    for service in proxy.services() {
        let (status, body) = proxy
            .get(service, method.clone(), &path, request.headers())
            .await?;
        if status != StatusCode::NOT_FOUND {
            return Ok(as_told(status, body));
        }
    }
    Err(Problem::not_found())
}
