//! The operator's API of a system that runs as several processes. One of them, a gateway for
//! example, asks the others and merges their answers. A merged list names the services that did not
//! answer.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequestParts, OriginalUri, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::future::{join, join_all};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tower::ServiceExt as _;
use uuid::Uuid;

use super::api::operator_routes;
use super::guard::Operator;
use super::incidents::{Action, Incident, Redrive};
use super::letters::{LetterPage, LetterQuery};
use super::lists::{Breaker, Items, Replicated, Subscription, Unroutable, joined};
use super::overload::Resource;
use super::rebuilds::Rebuild;
use super::records::StoryRecord;
use super::replays::Replay;
use super::sagas::Sagas;
use super::schedules::Schedule;
use super::timeline::{Timeline, in_order, story};
use crate::http::{Path, Problem, Query, ok};
use crate::run::host::Host;
use crate::{BoxFuture, CorrelationId};

/// The path of the timelines of a process, without the id.
const STORIES: &str = "/internal/stories";

/// The reply of a process: its status and its body.
pub type Answer = (StatusCode, Bytes);

/// A request to another process. It has no body.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Asked {
    /// The method.
    pub method: Method,
    /// The path, with the query.
    pub path: String,
    /// The headers of the operator's request, from which an implementation of [`Processes`] takes
    /// the credentials. Empty for timelines, which the process asks for in its own name.
    pub headers: HeaderMap,
}

impl Asked {
    /// Creates a `GET` in the name of a caller.
    #[must_use]
    pub fn get(path: impl Into<String>, headers: HeaderMap) -> Self {
        Self {
            method: Method::GET,
            path: path.into(),
            headers,
        }
    }
}

/// The processes of a system, for the one that asks all of them; see [`FanOut`].
pub trait Processes: Send + Sync + 'static {
    /// Returns the names of the services that can be asked.
    fn services(&self) -> Vec<&str>;

    /// Asks one replica of a service.
    ///
    /// # Errors
    ///
    /// 404 `not_found` if the service is unknown, 503 if no replica answers.
    fn ask<'a>(
        &'a self,
        service: &'a str,
        request: &'a Asked,
    ) -> BoxFuture<'a, Result<Answer, Problem>>;

    /// Asks each replica of a service once. The result of a replica that does not answer is `None`.
    ///
    /// # Errors
    ///
    /// 404 `not_found` if the service is unknown.
    fn ask_replicas<'a>(
        &'a self,
        service: &'a str,
        request: &'a Asked,
    ) -> BoxFuture<'a, Result<Vec<Option<Answer>>, Problem>>;
}

/// The timelines of this process's services, for a [`FanOut`] in another process. They contain data
/// of all users, so nobody else may reach them.
pub fn story_routes(host: Arc<Host>) -> Router {
    let of_process = async |State(host): State<Arc<Host>>, Path(id): Path<Uuid>| {
        ok(&story(&host, CorrelationId(id)).await).into_response()
    };
    Router::new()
        .route(&format!("{STORIES}/{{id}}"), get(of_process))
        .with_state(host)
}

/// The operator's API of all processes of a system.
///
/// Lists that differ between replicas come from every replica. Services that run in this process
/// are asked without HTTP: a request to their address could arrive here again.
///
/// ```
/// use std::sync::Arc;
///
/// use axum::Router;
/// use axum::middleware;
/// use wingbeat::run::Host;
/// use wingbeat::run::ops::{FanOut, Processes};
///
/// // The other processes serve `operator_routes` at the same path.
/// fn routes(processes: Arc<dyn Processes>, host: Arc<Host>) -> Router {
///     let all = FanOut::new(processes, host);
///     Router::new().nest("/admin", all.routes().route_layer(middleware::from_fn(guard)))
/// }
/// # async fn guard(
/// #     request: axum::extract::Request,
/// #     next: middleware::Next,
/// # ) -> axum::response::Response {
/// #     next.run(request).await
/// # }
/// ```
#[derive(Clone)]
pub struct FanOut {
    processes: Arc<dyn Processes>,
    host: Arc<Host>,
    /// The operator's API of this process.
    own: Router,
}

/// The operator who makes a request, and the request for the processes.
struct Asking {
    operator: Operator,
    /// The path below the one at which the routes are nested.
    here: Uri,
    elsewhere: Asked,
}

impl<S: Sync> FromRequestParts<S> for Asking {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let operator = parts.extensions.get::<Operator>().cloned();
        let operator =
            operator.ok_or_else(|| Problem::new(500, "internal", "no guard admits an operator"))?;
        let whole = parts.extensions.get::<OriginalUri>();
        let whole = whole.map_or(&parts.uri, |OriginalUri(uri)| uri);
        let path = whole.path_and_query().map_or("/", |path| path.as_str());
        let elsewhere = Asked {
            method: parts.method.clone(),
            path: path.to_owned(),
            headers: parts.headers.clone(),
        };
        Ok(Self {
            operator,
            here: parts.uri.clone(),
            elsewhere,
        })
    }
}

impl FanOut {
    /// Asks these processes, and the services of `host` in this one.
    #[must_use]
    pub fn new(processes: Arc<dyn Processes>, host: Arc<Host>) -> Self {
        let own = operator_routes().with_state(Arc::clone(&host));
        Self {
            processes,
            host,
            own: own.into_router(),
        }
    }

    /// Returns the routes of [`operator_routes`], for all services.
    ///
    /// Nest them at the path at which the other processes serve theirs. They need a guard around
    /// them that inserts an [`Operator`].
    pub fn routes(&self) -> Router {
        Router::new()
            .route("/stories/{id}", get(timeline))
            .route("/stories/{id}/records", get(replicas::<StoryRecord>))
            .route("/sagas", get(replicas::<Sagas>))
            .route("/sagas/{service}/{saga}", get(found))
            .route("/sagas/{service}/{saga}/{id}", get(found))
            .route("/dead-letters", get(dead_letters))
            .route("/dead-letters/{id}", get(found))
            .route("/dead-letters/{id}/retry", post(found))
            .route("/dead-letters/{id}/discard", post(found))
            .route("/incidents", get(replicas::<Incident>))
            .route("/incidents/{service}/{group}", get(found))
            .route("/redrives", get(replicas::<Redrive>))
            .route("/redrives/{service}", post(found))
            .route("/redrives/{service}/{id}/stop", post(found))
            .route("/actions", get(replicas::<Action>))
            .route("/breakers", get(replicas::<Breaker>))
            .route("/unroutable", get(replicas::<Unroutable>))
            .route("/subscriptions", get(replicas::<Subscription>))
            .route(
                "/subscriptions/{service}/{name}/{control}",
                post(controlled),
            )
            .route("/targets/{service}/{name}/{control}", post(controlled))
            .route("/schedules", get(replicas::<Schedule>))
            .route("/schedules/{service}/{name}/{control}", post(scheduled))
            .route("/replays", get(replicas::<Replay>))
            .route("/rebuilds", get(replicas::<Rebuild>))
            .route("/overload", get(replicas::<Resource>))
            .with_state(self.clone())
    }

    /// Collects the timeline of a correlation id from all services. The other processes serve
    /// theirs with [`story_routes`].
    pub async fn story(&self, id: CorrelationId) -> Timeline {
        let request = Asked::get(format!("{STORIES}/{}", id.0), HeaderMap::new());
        let ask = async |service: &str| {
            let (status, body) = self.processes.ask(service, &request).await.ok()?;
            let part: Timeline = serde_json::from_slice(&body).ok()?;
            (status == StatusCode::OK).then_some(part)
        };
        let mut whole = story(&self.host, id).await;
        let elsewhere = self.elsewhere();
        let asked = elsewhere.map(async |service| (service, ask(service).await));
        for (service, part) in join_all(asked).await {
            match part {
                Some(part) => {
                    whole.items.extend(part.items);
                    whole.away.extend(part.away);
                }
                None => whole.away.push(service.to_owned()),
            }
        }
        whole.items = in_order(whole.items);
        whole
    }

    fn is_here(&self, service: &str) -> bool {
        self.host.services().any(|it| it == service)
    }

    fn has_services(&self) -> bool {
        self.host.services().next().is_some()
    }

    /// Returns the services of other processes.
    fn elsewhere(&self) -> impl Iterator<Item = &str> {
        let services = self.processes.services().into_iter();
        services.filter(|it| !self.is_here(it))
    }

    /// Asks this process.
    async fn ask_here(&self, asking: &Asking) -> Result<Answer, Problem> {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = asking.elsewhere.method.clone();
        *request.uri_mut() = asking.here.clone();
        request.extensions_mut().insert(asking.operator.clone());
        let Ok(response) = self.own.clone().oneshot(request).await;
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await;
        let body = body.map_err(|why| Problem::new(500, "internal", why.to_string()))?;
        Ok((parts.status, body))
    }

    /// Asks every replica of a service.
    async fn ask_everywhere(&self, service: &str, asking: &Asking) -> Result<Answers, Problem> {
        let answers = if self.is_here(service) {
            vec![Some(self.ask_here(asking).await?)]
        } else {
            let asked = self.processes.ask_replicas(service, &asking.elsewhere);
            asked.await?
        };
        Ok(Answers {
            service: service.to_owned(),
            replicas: answers.len(),
            answers: answers.into_iter().flatten().collect(),
        })
    }
}

async fn timeline(State(all): State<FanOut>, Path(id): Path<String>) -> Result<Response, Problem> {
    let id: Uuid = id.parse().map_err(|_| Problem::not_found())?;
    Ok(ok(&all.story(CorrelationId(id)).await).into_response())
}

/// Returns the answer of a process to the operator.
fn as_answered((status, body): Answer) -> Response {
    let kind = if status.is_success() {
        "application/json"
    } else {
        "application/problem+json"
    };
    (status, [(header::CONTENT_TYPE, kind)], body).into_response()
}

/// Merges the pages of dead letters of all services, from one replica each.
async fn dead_letters(
    State(all): State<FanOut>,
    Query(query): Query<LetterQuery>,
    asking: Asking,
) -> Result<Response, Problem> {
    let limit = query.limit()?;
    query.after()?;
    let ask = async |service: &str| {
        let answer = all.processes.ask(service, &asking.elsewhere).await;
        let (status, body) = answer.ok()?;
        let page = serde_json::from_slice::<LetterPage>(&body).ok()?;
        (status == StatusCode::OK).then_some(page)
    };
    let elsewhere = all.elsewhere();
    let asked = elsewhere.map(async |service| (service, ask(service).await));
    let here = async {
        if !all.has_services() {
            return Ok(LetterPage::default());
        }
        decoded(&all.ask_here(&asking).await?.1)
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

/// Decodes an answer of this process.
fn decoded<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|why| Problem::new(500, "internal", why.to_string()))
}

/// Merges the lists of all replicas of all services: lists of data in memory, and of what a replica
/// of another release may not know.
async fn replicas<T: Replicated + Serialize + DeserializeOwned>(
    State(all): State<FanOut>,
    asking: Asking,
) -> Result<Response, Problem> {
    // The list of each replica; `None` for one that did not answer.
    let ask = async |service: &str| {
        let everywhere = all.processes.ask_replicas(service, &asking.elsewhere);
        let answers = everywhere.await.unwrap_or_default().into_iter();
        let lists = answers.map(|answer| {
            let (status, body) = answer?;
            items(service, status, &body)
        });
        lists.collect::<Vec<Option<Vec<T>>>>()
    };
    let elsewhere = all.elsewhere();
    let asked = elsewhere.map(async |service| (service, ask(service).await));
    let here = async {
        if !all.has_services() {
            return Ok(Vec::new());
        }
        let list: Items<T> = decoded(&all.ask_here(&asking).await?.1)?;
        Ok::<_, Problem>(list.items)
    };
    let (here, elsewhere) = join(here, join_all(asked)).await;
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

/// Forwards a pause, a resume or limits of a subscription, or limits of an outside system. Every
/// replica must carry it out.
async fn controlled(
    State(all): State<FanOut>,
    Path((service, ..)): Path<(String, String, String)>,
    asking: Asking,
) -> Result<Response, Problem> {
    let mut answers = all.ask_everywhere(&service, &asking).await?;
    if let Some(refusal) = answers.take(|status| !status.is_success()) {
        return Ok(refusal);
    }
    answers.complete()?;
    answers.take(|_| true).ok_or_else(Problem::not_found)
}

/// Forwards a pause or resume of a schedule. One replica is enough, because the service's store
/// keeps the state. A replica of another release may not know the schedule.
async fn scheduled(
    State(all): State<FanOut>,
    Path((service, ..)): Path<(String, String, String)>,
    asking: Asking,
) -> Result<Response, Problem> {
    let mut answers = all.ask_everywhere(&service, &asking).await?;
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
    answers: Vec<Answer>,
}

impl Answers {
    /// Takes an answer with such a status, if there is one.
    fn take(&mut self, is_wanted: impl Fn(StatusCode) -> bool) -> Option<Response> {
        let found = self.answers.iter().position(|(it, _)| is_wanted(*it))?;
        Some(as_answered(self.answers.swap_remove(found)))
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
async fn found(State(all): State<FanOut>, asking: Asking) -> Result<Response, Problem> {
    if all.has_services() {
        let answer = all.ask_here(&asking).await?;
        if answer.0 != StatusCode::NOT_FOUND {
            return Ok(as_answered(answer));
        }
    }
    let mut away = Vec::new();
    for service in all.elsewhere() {
        match all.processes.ask(service, &asking.elsewhere).await {
            Ok((StatusCode::NOT_FOUND, _)) => {}
            Ok(answer) => return Ok(as_answered(answer)),
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
