//! HTTP writes as ordinary handlers: parsed again on each attempt, answered when durable.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, MatchedPath, Request};
use axum::http::Method;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use axum::{Extension, extract};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tracing::Span;
use wingbeat_core::statement::Unmet;
use wingbeat_core::unit::{Outcome, Write};
use wingbeat_core::{CorrelationId, Error, Key, Name, Result, RuntimeExt as _, TraceParent};

use super::endpoint::KeyRequired;
use super::reply::{IntoReply, Reply, ReplyBody};
use super::session::SessionState;
use super::{BODY_MAX, DescribeRequest, Endpoint, IdempotencyKey, InUnit, Problem, RequestInfo};
use crate::extract::{Arguments, Extract, ExtractAll};
use crate::handler::Handler;
use crate::scope::ServiceContext;
use crate::telemetry::{self, Context};
use crate::unit_runner::{UNMET_MAX, back_off};
use crate::{Meta, Scope, decode, encode};

/// Where kept answers lie.
const TABLE: Name = Name::new("wb.idempotency");
/// How long an answer is kept; the promise is 24 hours.
const KEEP: Duration = Duration::from_secs(48 * 3600);
/// Attempts on stale reads; each one means that another request succeeded.
const ATTEMPTS_MAX: u32 = 1_000;

#[derive(Serialize, Deserialize)]
struct Kept {
    /// SHA-256 of the canonical JSON body.
    request: String,
    reply: Reply,
}

/// `POST` to a handler whose first argument is parsed from the request, and whose others are extractors.
pub fn post<H, Args, S, M>(handler: H) -> Endpoint<S, InUnit>
where
    H: Handler<Args>,
    H::Future: Send,
    Args: Arguments + 'static,
    Args::First: FromRequest<S, M> + DescribeRequest + Send + 'static,
    Args::Rest: ExtractAll<Scope, S>,
    H::Output: IntoReply,
    S: Clone + Send + Sync + 'static,
    M: 'static,
{
    let router = axum::routing::post(command::<H, Args, S, M>(handler));
    endpoint::<Args, S>(Method::POST, router)
}

/// `PUT`; see [`post`].
pub fn put<H, Args, S, M>(handler: H) -> Endpoint<S, InUnit>
where
    H: Handler<Args>,
    H::Future: Send,
    Args: Arguments + 'static,
    Args::First: FromRequest<S, M> + DescribeRequest + Send + 'static,
    Args::Rest: ExtractAll<Scope, S>,
    H::Output: IntoReply,
    S: Clone + Send + Sync + 'static,
    M: 'static,
{
    let router = axum::routing::put(command::<H, Args, S, M>(handler));
    endpoint::<Args, S>(Method::PUT, router)
}

/// `DELETE`; see [`post`].
pub fn delete<H, Args, S, M>(handler: H) -> Endpoint<S, InUnit>
where
    H: Handler<Args>,
    H::Future: Send,
    Args: Arguments + 'static,
    Args::First: FromRequest<S, M> + DescribeRequest + Send + 'static,
    Args::Rest: ExtractAll<Scope, S>,
    H::Output: IntoReply,
    S: Clone + Send + Sync + 'static,
    M: 'static,
{
    let router = axum::routing::delete(command::<H, Args, S, M>(handler));
    endpoint::<Args, S>(Method::DELETE, router)
}

/// The endpoint of a handler with these arguments.
fn endpoint<Args, S>(method: Method, router: MethodRouter<S>) -> Endpoint<S, InUnit>
where
    Args: Arguments,
    Args::First: DescribeRequest,
    Args::Rest: ExtractAll<Scope, S>,
{
    Endpoint::new(method, router).described(|request| {
        Args::First::describe(request);
        Args::Rest::describe(request);
        request.problem(503, "overloaded", "Too many requests wait to be stored.");
    })
}

/// The endpoint function for any method; see [`post`].
pub fn command<H, Args, S, M>(
    handler: H,
) -> impl Fn(
    extract::State<S>,
    Extension<Arc<ServiceContext>>,
    Request,
) -> futures_util::future::BoxFuture<'static, Response>
+ Clone
+ Send
+ Sync
+ 'static
where
    H: Handler<Args>,
    H::Future: Send,
    Args: Arguments + 'static,
    Args::First: FromRequest<S, M> + Send + 'static,
    Args::Rest: ExtractAll<Scope, S>,
    H::Output: IntoReply,
    S: Clone + Send + Sync + 'static,
    M: 'static,
{
    move |extract::State(state), Extension(service), request| {
        let handler = handler.clone();
        Box::pin(async move {
            let incoming = match Incoming::read(request).await {
                Ok(incoming) => incoming,
                Err(problem) => return problem.into_response(),
            };
            let (context, span) = incoming.context(&service);
            let run = run::<H, Args, S, M>(handler, state, service, incoming);
            context.run(span, Box::pin(run)).await
        })
    }
}

/// Runs the handler until what it read was still true when its unit was committed.
async fn run<H, Args, S, M>(
    handler: H,
    state: S,
    service: Arc<ServiceContext>,
    incoming: Incoming,
) -> Response
where
    H: Handler<Args>,
    H::Future: Send,
    Args: Arguments + 'static,
    Args::First: FromRequest<S, M> + Send + 'static,
    Args::Rest: ExtractAll<Scope, S>,
    H::Output: IntoReply,
    S: Clone + Send + Sync + 'static,
    M: 'static,
{
    let mut unmet = 0;
    for attempt in 0..ATTEMPTS_MAX {
        let first = match Args::First::from_request(incoming.request(), &state).await {
            Ok(first) => first,
            Err(rejection) => return rejection.into_response(),
        };
        let scope = incoming.scope(&service);
        let run = async {
            let rest = Args::Rest::extract_all(&scope, &state).map_err(Problem::from)?;
            if incoming.needs_key() {
                <IdempotencyKey as Extract<Scope, S>>::extract(&scope, &state)?;
            }
            if let Some(kept) = kept(&scope).await? {
                return Ok((kept, true));
            }
            handler
                .call(Args::join(first, rest))
                .await
                .into_reply()
                .map(|reply| (reply, false))
        };
        match settle(&service, &scope, run.await).await {
            Verdict::Answer(answer) => {
                return answer
                    .map_or_else(IntoResponse::into_response, IntoResponse::into_response);
            }
            Verdict::Unmet(why) => {
                unmet += 1;
                if unmet == UNMET_MAX {
                    return Problem::from(Error::from(why)).into_response();
                }
                back_off(&service, attempt).await;
            }
            Verdict::Stale => back_off(&service, attempt).await,
        }
    }
    Problem::new(
        503,
        "contended",
        "too many others are changing the same thing",
    )
    .into_response()
}

/// What one attempt came to.
enum Verdict {
    /// The answer; what it says is durable.
    Answer(ReplyBody),
    /// It was based on what has changed.
    Stale,
    /// One of its statements did not do what was expected.
    Unmet(Unmet),
}

/// Commits what one attempt asked for.
async fn settle(
    service: &ServiceContext,
    scope: &Scope,
    run: Result<(Reply, bool), Problem>,
) -> Verdict {
    let keep = match &run {
        Ok((reply, false)) => keep(scope, reply),
        _ => Ok(()),
    };
    let unit = match keep.and_then(|()| scope.seal(None)) {
        // A refusal takes no effect, but what it was based on is validated like a write.
        Ok(unit) if run.is_err() => unit.only_reads(),
        Ok(unit) => unit,
        Err(why) => return Verdict::Answer(Err(why.into())),
    };
    let answer = run.map(|(reply, _)| reply);
    if unit.is_empty() {
        return Verdict::Answer(answer);
    }
    if service.committer.is_full() {
        let words = "too much is waiting to be stored";
        return Verdict::Answer(Err(Problem::new(503, "overloaded", words)));
    }
    let due = unit.writes.iter().filter_map(|write| write.due_at).min();
    match service.committer.commit(unit).await {
        Outcome::Committed => {
            if let Some(due) = due {
                service.due.at(due);
            }
            Verdict::Answer(answer)
        }
        Outcome::Stale | Outcome::Duplicate => Verdict::Stale,
        Outcome::Unmet(why) => Verdict::Unmet(why),
        Outcome::Refused => {
            let problem = Problem::new(500, "refused", "the store refuses this");
            Verdict::Answer(Err(problem))
        }
    }
}

async fn kept(scope: &Scope) -> Result<Option<Reply>, Problem> {
    let Some(key) = kept_key(scope).await? else {
        return Ok(None);
    };
    let Some(body) = scope.load(&key).await.map_err(Problem::from)?.body else {
        return Ok(None);
    };
    let kept: Kept = decode(&body).map_err(Problem::from)?;
    if kept.request != fingerprint(scope) {
        return Err(Problem::new(
            422,
            "idempotency_key_reused",
            "this Idempotency-Key came with another body before",
        ));
    }
    Ok(Some(kept.reply))
}

async fn kept_key(scope: &Scope) -> Result<Option<Key>, Problem> {
    let Some(IdempotencyKey(key)) = scope.reply_key() else {
        return Ok(None);
    };
    let Some(request) = scope.request() else {
        return Ok(None);
    };
    let caller = match &request.session {
        SessionState::SignedIn(session) => session.user_id.to_string(),
        _ => "-".into(),
    };
    Ok(Some(Key::new(
        TABLE,
        format!("{caller}/{}/{key}", request.route),
    )))
}

fn keep(scope: &Scope, reply: &Reply) -> Result<()> {
    let Some(IdempotencyKey(key)) = scope.reply_key() else {
        return Ok(());
    };
    let Some(request) = scope.request() else {
        return Ok(());
    };
    if reply.status != 202 {
        return Ok(());
    }
    let caller = match &request.session {
        SessionState::SignedIn(session) => session.user_id.to_string(),
        _ => "-".into(),
    };
    let kept = Kept {
        request: fingerprint(scope),
        reply: reply.clone(),
    };
    scope.write(Write {
        key: Key::new(TABLE, format!("{caller}/{}/{key}", request.route)),
        body: Some(encode(&kept)),
        due_at: None,
        expires_at: Some(scope.now() + KEEP),
    })
}

/// SHA-256 of the body with its keys sorted, so that equal JSON counts as equal.
fn fingerprint(scope: &Scope) -> String {
    let body = scope
        .request()
        .map(|request| request.body.clone())
        .unwrap_or_default();
    let canonical = serde_json::from_slice::<serde_json::Value>(&body)
        .map_or_else(|_| body.to_vec(), |json| json.to_string().into_bytes());
    hex::encode(Sha256::digest(canonical))
}

/// A request that can be parsed again and again.
struct Incoming {
    parts: Parts,
    body: Bytes,
    info: Arc<RequestInfo>,
}

impl Incoming {
    async fn read(request: Request) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, BODY_MAX)
            .await
            .map_err(|_| Problem::new(413, "body_too_large", "the body is larger than 64 KiB"))?;
        let path = parts.extensions.get::<MatchedPath>().map_or_else(
            || parts.uri.path().to_owned(),
            |path| path.as_str().to_owned(),
        );
        let info = Arc::new(RequestInfo {
            headers: parts.headers.clone(),
            route: format!("{} {path}", parts.method),
            body: body.clone(),
            session: parts
                .extensions
                .get::<SessionState>()
                .cloned()
                .unwrap_or(SessionState::Nobody),
        });
        Ok(Self { parts, body, info })
    }

    /// Whether its endpoint requires an idempotency key.
    fn needs_key(&self) -> bool {
        self.parts.extensions.get::<KeyRequired>().is_some()
    }

    fn request(&self) -> Request {
        Request::from_parts(self.parts.clone(), Body::from(self.body.clone()))
    }

    /// Its span: within the request that this process was asked, or of a trace of its own.
    fn context(&self, service: &ServiceContext) -> (Context, Span) {
        let parent = telemetry::current().map(|context| context.trace);
        let id = service.runtime.id();
        let trace = parent.map_or_else(|| TraceParent::of(id), |parent| parent.child_of_id(id));
        let what = format_args!("{}", self.info.route);
        (
            Context::at(trace),
            telemetry::working(what, service.name, trace, parent),
        )
    }

    fn scope(&self, service: &Arc<ServiceContext>) -> Scope {
        let meta = Meta {
            correlation: CorrelationId(service.runtime.id()),
            message: None,
            operation: None,
            sequence: None,
            time: service.runtime.now(),
        };
        Scope::with_request(Arc::clone(service), meta, Arc::clone(&self.info))
    }
}
