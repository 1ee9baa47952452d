//! Routes of the gateway that ask all services: timelines, and the administrator's lists of
//! subscriptions, schedules, replays, rebuilds, dead letters, incidents, breakers, overload and unroutable
//! messages. Lists that differ between replicas come from every replica. The answer names the
//! services that did not answer.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::future::{join, join_all};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use shop_gateway::Proxy;
use tower::ServiceExt as _;
use uuid::Uuid;
use wingbeat::CorrelationId;
use wingbeat::http::session::{Session, SessionState};
use wingbeat::http::{Admin, Path, Problem, Query, ok};
use wingbeat::run::Host;
use wingbeat::run::ops::{
    Action, Breaker, Incident, Items, LetterPage, LetterQuery, Rebuild, Redrive, Replay,
    Replicated, Resource, Schedule, Subscription, Timeline, Unroutable, in_order, joined,
    story as in_process,
};

use super::admin;

/// The services of all processes.
#[derive(Clone)]
struct System {
    proxy: Arc<Proxy>,
    here: Here,
}

impl System {
    /// Returns the services of other processes.
    fn elsewhere(&self) -> impl Iterator<Item = &str> {
        self.proxy.services().filter(|it| !self.here.has(it))
    }

    /// Sends a `POST` without a body to every replica of a service.
    async fn post_everywhere(
        &self,
        admin: &Session,
        service: &str,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<Answers, Problem> {
        let answers = if self.here.has(service) {
            vec![Some(self.here.ask(admin, Method::POST, path).await?)]
        } else {
            let proxy = &self.proxy;
            let answers = proxy.everywhere(service, Method::POST, path, headers);
            answers.await?
        };
        Ok(Answers {
            service: service.to_owned(),
            replicas: answers.len(),
            answers: answers.into_iter().flatten().collect(),
        })
    }
}

/// The services that run beside the gateway. A request to their address would arrive at the routes
/// of the gateway, which would ask all services again; so they are asked without HTTP.
#[derive(Clone)]
struct Here {
    host: Arc<Host>,
    routes: Router,
}

impl Here {
    fn new(host: Arc<Host>) -> Self {
        let routes = admin::routes(Arc::clone(&host));
        Self { host, routes }
    }

    fn has(&self, service: &str) -> bool {
        self.host.services().any(|it| it == service)
    }

    fn is_empty(&self) -> bool {
        self.host.services().next().is_none()
    }

    /// Answers a request of an administrator.
    async fn ask(
        &self,
        admin: &Session,
        method: Method,
        path: &str,
    ) -> Result<(StatusCode, Bytes), Problem> {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().map_err(|_| Problem::not_found())?;
        let caller = SessionState::SignedIn(admin.clone());
        request.extensions_mut().insert(caller);
        let response = self.routes.clone().oneshot(request).await;
        let (parts, body) = response.unwrap_or_else(|never| match never {}).into_parts();
        let body = to_bytes(body, usize::MAX).await;
        let body = body.map_err(|why| Problem::new(500, "internal", why.to_string()))?;
        Ok((parts.status, body))
    }
}

/// The routes.
pub fn routes(proxy: Arc<Proxy>, host: Arc<Host>) -> Router {
    let here = Here::new(host);
    Router::new()
        .route("/api/v1/orders/{id}/timeline", get(timeline))
        .route("/api/v1/admin/stories/{id}", get(story))
        .route("/api/v1/admin/dead-letters", get(dead_letters))
        .route("/api/v1/admin/dead-letters/{id}", get(found))
        .route("/api/v1/admin/dead-letters/{id}/retry", post(found))
        .route("/api/v1/admin/dead-letters/{id}/discard", post(found))
        .route("/api/v1/admin/incidents", get(replicas::<Incident>))
        .route("/api/v1/admin/incidents/{service}/{group}", get(found))
        .route("/api/v1/admin/redrives", get(replicas::<Redrive>))
        .route("/api/v1/admin/redrives/{service}", post(found))
        .route("/api/v1/admin/redrives/{service}/{id}/stop", post(found))
        .route("/api/v1/admin/actions", get(replicas::<Action>))
        .route("/api/v1/admin/breakers", get(replicas::<Breaker>))
        .route("/api/v1/admin/unroutable", get(replicas::<Unroutable>))
        .route("/api/v1/admin/subscriptions", get(replicas::<Subscription>))
        .route(
            "/api/v1/admin/subscriptions/{service}/{name}/{control}",
            post(controlled),
        )
        .route("/api/v1/admin/schedules", get(replicas::<Schedule>))
        .route(
            "/api/v1/admin/schedules/{service}/{name}/{control}",
            post(scheduled),
        )
        .route("/api/v1/admin/replays", get(replicas::<Replay>))
        .route("/api/v1/admin/rebuilds", get(replicas::<Rebuild>))
        .route("/api/v1/admin/overload", get(replicas::<Resource>))
        .with_state(System { proxy, here })
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

/// Collects the timeline of a correlation id from all services.
async fn gather(system: &System, id: Uuid) -> Timeline {
    let path = format!("/internal/stories/{id}");
    let ask = async |service: &str| {
        let nobody = HeaderMap::new();
        let answer = system.proxy.get(service, Method::GET, &path, &nobody);
        let (status, body) = answer.await.ok()?;
        let told: Timeline = serde_json::from_slice(&body).ok()?;
        (status == StatusCode::OK).then_some(told)
    };
    let mut whole = in_process(&system.here.host, CorrelationId(id)).await;
    let asked = system
        .elsewhere()
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
    whole
}

fn as_told(status: StatusCode, body: Bytes) -> Response {
    let kind = match status.is_success() {
        true => "application/json",
        false => "application/problem+json",
    };
    (status, [(header::CONTENT_TYPE, kind)], body).into_response()
}

/// Merges the pages of dead letters of all services, from one replica each.
async fn dead_letters(
    Admin(admin): Admin,
    State(system): State<System>,
    Query(query): Query<LetterQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let limit = query.limit()?;
    query.after()?;
    let (path, headers) = (request.uri().path_and_query(), request.headers());
    let path = path.map_or("/api/v1/admin/dead-letters", |path| path.as_str());
    let ask = async |service: &str| {
        let answer = system.proxy.get(service, Method::GET, path, headers);
        let (status, body) = answer.await.ok()?;
        let page = serde_json::from_slice::<LetterPage>(&body).ok()?;
        (status == StatusCode::OK).then_some(page)
    };
    let asked = system
        .elsewhere()
        .map(async |service| (service, ask(service).await));
    let here = async {
        if system.here.is_empty() {
            return Ok(LetterPage::default());
        }
        let (_, body) = system.here.ask(&admin, Method::GET, path).await?;
        serde_json::from_slice(&body).map_err(|why| Problem::new(500, "internal", why.to_string()))
    };
    let (here, elsewhere) = join(here, join_all(asked)).await;
    let mut pages = vec![here?];
    for (service, page) in elsewhere {
        pages.push(page.unwrap_or_else(|| LetterPage {
            away: vec![service.to_owned()],
            ..LetterPage::default()
        }));
    }
    Ok(ok(&LetterPage::merged(pages, limit)).into_response())
}

/// Merges the lists of all replicas of all services: lists of data in memory, and of what a replica
/// of another release may not know.
async fn replicas<T: Replicated + Serialize + DeserializeOwned>(
    Admin(admin): Admin,
    State(system): State<System>,
    request: Request,
) -> Result<Response, Problem> {
    let (path, headers) = (request.uri().path(), request.headers());
    // The list of each replica; `None` for one that did not answer.
    let ask = async |service: &str| {
        let everywhere = system.proxy.everywhere(service, Method::GET, path, headers);
        let answers = everywhere.await.unwrap_or_default().into_iter();
        let lists = answers.map(|answer| {
            let (status, body) = answer?;
            items(service, status, &body)
        });
        lists.collect::<Vec<Option<Vec<T>>>>()
    };
    let asked = system
        .elsewhere()
        .map(async |service| (service, ask(service).await));
    let (here, elsewhere) = join(here(&system, &admin, path), join_all(asked)).await;
    let (mut lists, mut away) = (vec![here?], Vec::new());
    for (service, found) in elsewhere {
        if found.is_empty() || found.iter().any(Option::is_none) {
            away.push(service.to_owned());
        }
        lists.extend(found.into_iter().flatten());
    }
    let mut all = Items::from(joined(lists));
    all.away = away;
    Ok(ok(&all).into_response())
}

/// Returns the list of the services of this process.
async fn here<T: DeserializeOwned>(
    system: &System,
    admin: &Session,
    path: &str,
) -> Result<Vec<T>, Problem> {
    if system.here.is_empty() {
        return Ok(Vec::new());
    }
    let (_, body) = system.here.ask(admin, Method::GET, path).await?;
    let list: Result<Items<T>, _> = serde_json::from_slice(&body);
    let list = list.map_err(|why| Problem::new(500, "internal", why.to_string()))?;
    Ok(list.items)
}

/// Returns the items of a service. Its process may run others, which are asked themselves.
fn items<T: DeserializeOwned>(service: &str, status: StatusCode, body: &[u8]) -> Option<Vec<T>> {
    if status != StatusCode::OK {
        return None;
    }
    let list: Items<Value> = serde_json::from_slice(body).ok()?;
    let is_its_own = |item: &Value| item.get("service").is_none_or(|it| it == service);
    let items = list.items.into_iter().filter(is_its_own);
    items
        .map(|item| serde_json::from_value(item).ok())
        .collect()
}

/// Forwards a pause or resume of a subscription. Every replica must carry it out.
async fn controlled(
    Admin(admin): Admin,
    State(system): State<System>,
    Path((service, ..)): Path<(String, String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    let (path, headers) = (request.uri().path(), request.headers());
    let answers = system.post_everywhere(&admin, &service, path, headers);
    let mut answers = answers.await?;
    if let Some(refusal) = answers.take(|status| !status.is_success()) {
        return Ok(refusal);
    }
    answers.complete()?;
    answers.take(|_| true).ok_or_else(Problem::not_found)
}

/// Forwards a pause or resume of a schedule. One replica is enough, because the service's store
/// keeps the state. A replica of another release may not know the schedule.
async fn scheduled(
    Admin(admin): Admin,
    State(system): State<System>,
    Path((service, ..)): Path<(String, String, String)>,
    request: Request,
) -> Result<Response, Problem> {
    let (path, headers) = (request.uri().path(), request.headers());
    let answers = system.post_everywhere(&admin, &service, path, headers);
    let mut answers = answers.await?;
    if let Some(done) = answers.take(|status| status.is_success()) {
        return Ok(done);
    }
    if let Some(refusal) = answers.take(|status| status != StatusCode::NOT_FOUND) {
        return Ok(refusal);
    }
    answers.complete()?;
    Err(Problem::not_found())
}

/// The answers of the replicas of a service.
struct Answers {
    service: String,
    /// The number of replicas.
    replicas: usize,
    answers: Vec<(StatusCode, Bytes)>,
}

impl Answers {
    /// Takes an answer with such a status, if there is one.
    fn take(&mut self, is_wanted: impl Fn(StatusCode) -> bool) -> Option<Response> {
        let found = self.answers.iter().position(|(it, _)| is_wanted(*it))?;
        let (status, body) = self.answers.swap_remove(found);
        Some(as_told(status, body))
    }

    /// Checks that every replica has answered.
    fn complete(&self) -> Result<(), Problem> {
        let (answered, replicas) = (self.answers.len(), self.replicas);
        if answered == replicas {
            return Ok(());
        }
        let service = &self.service;
        let detail = format!("{answered} of {replicas} replicas of {service} answered; try again");
        Err(Problem::new(503, "service_unavailable", detail))
    }
}

/// Returns the answer of the service that has the entry.
async fn found(
    Admin(admin): Admin,
    State(system): State<System>,
    request: Request,
) -> Result<Response, Problem> {
    let (uri, method) = (request.uri(), request.method());
    let path = uri.path_and_query().map_or(uri.path(), |it| it.as_str());
    let mut away = Vec::new();
    if !system.here.is_empty() {
        let (status, body) = system.here.ask(&admin, method.clone(), path).await?;
        if status != StatusCode::NOT_FOUND {
            return Ok(as_told(status, body));
        }
    }
    for service in system.elsewhere() {
        let headers = request.headers();
        let asked = system.proxy.get(service, method.clone(), path, headers);
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
mod tests;
