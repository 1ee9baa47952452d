//! Routes of the gateway that ask all services: timelines, and the administrator's lists of
//! subscriptions, dead letters, breakers and unroutable messages. Figures that differ between
//! replicas come from every replica. The answer names the services that did not answer.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRef, Path, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::future::join_all;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use shop_gateway::Proxy;
use uuid::Uuid;
use wingbeat::CorrelationId;
use wingbeat::http::{Admin, Problem, ok};
use wingbeat::run::Host;
use wingbeat::run::ops::{
    Breaker, Items, Replicated, Subscription, Timeline, Unroutable, in_order, joined,
    story as in_process,
};

/// The other processes, and the services of this one.
#[derive(Clone)]
struct System {
    proxy: Arc<Proxy>,
    host: Arc<Host>,
}

impl FromRef<System> for Arc<Proxy> {
    fn from_ref(system: &System) -> Self {
        Self::clone(&system.proxy)
    }
}

/// The routes.
pub fn routes(proxy: Arc<Proxy>, host: Arc<Host>) -> Router {
    Router::new()
        .route("/api/v1/orders/{id}/timeline", get(timeline))
        .route("/api/v1/admin/stories/{id}", get(story))
        .route("/api/v1/admin/dead-letters", get(gathered))
        .route("/api/v1/admin/dead-letters/{id}", get(found))
        .route("/api/v1/admin/dead-letters/{id}/retry", post(found))
        .route("/api/v1/admin/dead-letters/{id}/discard", post(found))
        .route("/api/v1/admin/breakers", get(replicas::<Breaker>))
        .route("/api/v1/admin/unroutable", get(replicas::<Unroutable>))
        .route("/api/v1/admin/subscriptions", get(replicas::<Subscription>))
        .route(
            "/api/v1/admin/subscriptions/{service}/{name}/{control}",
            post(controlled),
        )
        .with_state(System { proxy, host })
}

async fn timeline(
    State(system): State<System>,
    Path(id): Path<Uuid>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    // The orders service decides whether the caller may read it.
    let order = format!("/api/v1/orders/{id}");
    let order = system.proxy.get("orders", Method::GET, &order, &headers);
    let (status, body) = order.await?;
    if status != StatusCode::OK {
        return Ok(as_told(status, body));
    }
    Ok(ok(&gather(&system, id).await).into_response())
}

async fn story(
    _: Admin,
    State(system): State<System>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id: Uuid = id.parse().map_err(|_| Problem::not_found())?;
    Ok(ok(&gather(&system, id).await).into_response())
}

/// Collects the timeline of a correlation id from all services: those of this process directly,
/// since its public port does not serve `/internal`, and the others over HTTP.
async fn gather(System { proxy, host }: &System, id: Uuid) -> Timeline {
    let path = format!("/internal/stories/{id}");
    let ask = async |service: &str| {
        let nobody = HeaderMap::new();
        let (status, body) = proxy.get(service, Method::GET, &path, &nobody).await.ok()?;
        let told: Timeline = serde_json::from_slice(&body).ok()?;
        (status == StatusCode::OK).then_some(told)
    };
    let mut whole = in_process(host, CorrelationId(id)).await;
    let here: BTreeSet<&str> = host.services().collect();
    let elsewhere = proxy.services().filter(|service| !here.contains(service));
    let asked = elsewhere.map(async |service| (service, ask(service).await));
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
    whole
}

fn as_told(status: StatusCode, body: axum::body::Bytes) -> Response {
    let kind = match status.is_success() {
        true => "application/json",
        false => "application/problem+json",
    };
    (status, [(header::CONTENT_TYPE, kind)], body).into_response()
}

/// Merges the lists of all services, from one replica each: lists of stored data.
async fn gathered(
    _: Admin,
    State(proxy): State<Arc<Proxy>>,
    request: Request,
) -> Result<Response, Problem> {
    let (path, headers) = (request.uri().path(), request.headers());
    let ask = async |service: &str| {
        let (status, body) = proxy.get(service, Method::GET, path, headers).await.ok()?;
        items::<Value>(status, &body)
    };
    let asked = proxy
        .services()
        .map(async |service| (service, ask(service).await));
    Ok(whole(join_all(asked).await))
}

/// Merges the lists of all replicas of all services: lists of data in memory.
async fn replicas<T: Replicated + Serialize + DeserializeOwned>(
    _: Admin,
    State(proxy): State<Arc<Proxy>>,
    request: Request,
) -> Result<Response, Problem> {
    let (path, headers) = (request.uri().path(), request.headers());
    let ask = async |service: &str| {
        let everywhere = proxy.everywhere(service, Method::GET, path, headers).await;
        let answers = everywhere.ok()?.into_iter().flatten();
        let lists: Vec<Vec<T>> = answers
            .filter_map(|(status, body)| items(status, &body))
            .collect();
        (!lists.is_empty()).then(|| joined(lists))
    };
    let asked = proxy
        .services()
        .map(async |service| (service, ask(service).await));
    Ok(whole(join_all(asked).await))
}

fn items<T: DeserializeOwned>(status: StatusCode, body: &[u8]) -> Option<Vec<T>> {
    let list: Items<T> = serde_json::from_slice(body).ok()?;
    (status == StatusCode::OK).then_some(list.items)
}

/// Merges the answers of all services; `None` marks a service that did not answer.
fn whole<T: Serialize>(told: Vec<(&str, Option<Vec<T>>)>) -> Response {
    let mut all = Items::from(Vec::new());
    for (service, list) in told {
        match list {
            Some(list) => all.items.extend(list),
            None => all.away.push(service.to_owned()),
        }
    }
    ok(&all).into_response()
}

/// Forwards a pause or resume to every replica.
async fn controlled(
    _: Admin,
    State(proxy): State<Arc<Proxy>>,
    Path((service, ..)): Path<(String, String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    let (path, headers) = (request.uri().path(), request.headers());
    let answers = proxy
        .everywhere(&service, Method::POST, path, headers)
        .await?;
    let count = answers.len();
    let mut told: Vec<_> = answers.into_iter().flatten().collect();
    if let Some(refused) = told.iter().position(|(status, _)| !status.is_success()) {
        let (status, body) = told.swap_remove(refused);
        return Ok(as_told(status, body));
    }
    if told.len() < count {
        let detail = format!(
            "{} of {count} replicas of {service} answered; try again",
            told.len()
        );
        return Err(Problem::new(503, "service_unavailable", detail));
    }
    let last = told.pop().ok_or_else(Problem::not_found)?;
    Ok(as_told(last.0, last.1))
}

/// Returns the answer of the service that has the entry.
async fn found(
    _: Admin,
    State(proxy): State<Arc<Proxy>>,
    request: Request,
) -> Result<Response, Problem> {
    let (path, method) = (request.uri().path(), request.method());
    let mut away = Vec::new();
    for service in proxy.services() {
        let asked = proxy.get(service, method.clone(), path, request.headers());
        match asked.await {
            Ok((StatusCode::NOT_FOUND, _)) => {}
            Ok((status, body)) => return Ok(as_told(status, body)),
            Err(_) => away.push(service),
        }
    }
    if away.is_empty() {
        return Err(Problem::not_found());
    }
    let detail = format!(
        "not found; {} did not answer and may have it",
        away.join(", ")
    );
    Err(Problem::new(503, "service_unavailable", detail))
}

#[cfg(test)]
mod tests {
    use shop_contracts::catalog::ProductRetired;
    use shop_gateway::{Limits, Upstream};
    use wingbeat::Runtime as _;
    use wingbeat::test::Model;
    use wingbeat::{App, Ports, Service, TokioRuntime, run_unit};

    use super::*;

    #[tokio::test]
    async fn a_timeline_includes_the_services_that_run_beside_the_gateway() {
        let runtime = TokioRuntime::new();
        let model = Model::new(runtime.clone());
        let ports = Ports {
            runtime: runtime.clone(),
            store: model.store.clone(),
            transport: model.transport.clone(),
            cache: model.cache.clone(),
            http: wingbeat::call::HyperClient::new(),
        };
        let system = Arc::new(|| App::new().service(Service::new("catalog")));
        let host = Host::start(runtime.clone(), ports, system, |_| true).await;
        let host = host.expect("it starts");
        let catalog = host.service("catalog").expect("it runs");
        let id = Uuid::from_u128(7);
        let retired = run_unit(&catalog, |scope| async move {
            scope.correlate(id)?;
            let sku = "TEA-1".parse().expect("a SKU");
            scope.publish(&ProductRetired { sku, version: 1 })
        });
        retired.await.expect("it is committed");

        let nowhere = "http://127.0.0.1:1";
        let upstream = |service| Upstream::new(service, nowhere, &Limits::default(), runtime.now());
        let upstreams = ["catalog", "orders"].map(upstream).into();
        let proxy = Arc::new(Proxy::new(upstreams, runtime.clone()));
        let timeline = gather(&System { proxy, host }, id).await;
        let names: Vec<_> = timeline.items.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["catalog.product_retired.v1"]);
        assert_eq!(timeline.away, ["orders"]);
    }
}
