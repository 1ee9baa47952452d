//! HTTP writes as handlers in a unit of work. Each attempt parses the request again, and the reply
//! is sent after the commit.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{FromRequest, MatchedPath, OriginalUri, Request};
use axum::http::Method;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use axum::{Extension, extract};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tracing::Span;
use wingbeat_core::unit::Write;
use wingbeat_core::{CorrelationId, Key, Name, Result, RuntimeExt as _, TraceParent};

use super::describe::DescribeRequest;
use super::endpoint::{Endpoint, InUnit, KeyRequired};
use super::problem::Problem;
use super::reply::{IntoReply, Reply};
use super::request::{CommandRequest, IdempotencyKey, RequestInfo, read_body};
use super::session::SessionState;
use super::traced::propagation;
use crate::extract::{Arguments, Extract, ExtractAll};
use crate::handler::Handler;
use crate::recording::{Input, Tape};
use crate::telemetry::{self, Context};
use crate::unit::{self, Attempt, Meta, OwnTable, Scope, ServiceContext};
use crate::{decode, encode};

/// The table of replies that are stored under idempotency keys.
const TABLE: Name = Name::new("wb.idempotency");

#[derive(Serialize, Deserialize)]
struct Kept {
    /// The SHA-256 hash of the canonical JSON body.
    request: String,
    reply: Reply,
}

/// Replies that are stored under idempotency keys, for the verification of what is stored.
pub(crate) const STORED: OwnTable = OwnTable::of::<Kept>(TABLE);

/// `POST` to a handler whose first argument is parsed from the request, and whose others are
/// extractors.
///
/// The handler runs in a unit of work, and the client gets the reply when the unit is durable.
///
/// ```
/// use wingbeat::prelude::*;
///
/// async fn check_in(Path(room): Path<String>, claims: Claims) -> Result<Reply, Problem> {
///     if !claims.claim("room", &room, "ada").await? {
///         return Err(Problem::new(409, "room_taken", "another guest has it"));
///     }
///     Ok(accepted(&room))
/// }
///
/// let routes = Routes::new().route("/rooms/{room}", post(check_in).idempotent());
/// # drop(Service::new("hotel").routes(routes));
/// ```
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

/// The answer of one attempt.
enum Answer {
    /// The handler's reply, or the stored one.
    Reply(Reply),
    /// The request cannot be parsed. There is no unit.
    Rejected(Response),
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        match self {
            Self::Reply(reply) => reply.into_response(),
            Self::Rejected(response) => response,
        }
    }
}

/// Runs the handler in the unit's retry loop. Each attempt parses the request again.
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
    let (handler, state, incoming) = (&handler, &state, &incoming);
    let answer = unit::run(&service, || {
        let scope = incoming.scope(&service);
        async move {
            let answer = async {
                scope.record_attempt(|it| Tape::new(it, incoming.input()))?;
                let first = match Args::First::from_request(incoming.request(), state).await {
                    Ok(first) => first,
                    Err(rejection) => return Ok(Answer::Rejected(rejection.into_response())),
                };
                let rest = Args::Rest::extract_all(&scope, state)?;
                if incoming.needs_key() {
                    <IdempotencyKey as Extract<Scope, S>>::extract(&scope, state)?;
                }
                if let Some(kept) = kept(&scope).await? {
                    return Ok(Answer::Reply(kept));
                }
                let reply = handler.call(Args::join(first, rest)).await.into_reply()?;
                keep(&scope, &reply)?;
                Ok(Answer::Reply(reply))
            };
            Attempt {
                answer: answer.await,
                scope,
                settles: None,
            }
        }
    })
    .await;
    answer.map_or_else(
        |problem: Problem| problem.into_response(),
        Answer::into_response,
    )
}

/// Returns the reply that is stored under the request's idempotency key.
async fn kept(scope: &Scope) -> Result<Option<Reply>, Problem> {
    let Some(key) = kept_key(scope) else {
        return Ok(None);
    };
    let Some(body) = scope.load(&key).await?.body else {
        return Ok(None);
    };
    let kept: Kept = decode(&body)?;
    if kept.request != fingerprint(scope) {
        return Err(IdempotencyKey::reused());
    }
    Ok(Some(kept.reply))
}

/// Stores a reply with status 201 or 202 under the request's idempotency key.
fn keep(scope: &Scope, reply: &Reply) -> Result<()> {
    let Some(key) = kept_key(scope).filter(|_| matches!(reply.status, 201 | 202)) else {
        return Ok(());
    };
    let kept = Kept {
        request: fingerprint(scope),
        reply: reply.clone(),
    };
    scope.write(Write {
        key,
        body: Some(encode(&kept)),
        due_at: None,
        expires_at: Some(scope.now() + IdempotencyKey::KEPT_FOR),
    })
}

fn kept_key(scope: &Scope) -> Option<Key> {
    let command = CommandRequest::of(scope)?;
    let IdempotencyKey(key) = command.reply_key()?;
    let caller = match &command.info.session {
        SessionState::SignedIn(session) => session.user_id.to_string(),
        _ => "-".into(),
    };
    // A key stands for one request: of this caller, and to this object, not only to this route. The
    // hash bounds the length, and its parts cannot contain the line feeds between them.
    let RequestInfo { route, target, .. } = &*command.info;
    let request = hex::encode(Sha256::digest(format!("{route}\n{target}\n{key}")));
    Some(Key::new(TABLE, format!("{caller}/{request}")))
}

/// Returns the hash of the request's body.
fn fingerprint(scope: &Scope) -> String {
    let command = CommandRequest::of(scope);
    command.map_or_else(String::new, |command| {
        IdempotencyKey::hash_of(&command.info.body)
    })
}

/// Returns the path in its canonical form: all spellings of the same path are one. The query does
/// not belong to it: it names no object, and proxies and links add parameters to it.
fn target(parts: &Parts) -> String {
    let original = parts.extensions.get::<OriginalUri>();
    let uri = original.map_or(&parts.uri, |OriginalUri(uri)| uri);
    canonical(uri.path())
}

/// Decodes the escapes of a path, except those of bytes that have another meaning without one:
/// slashes, percent signs, control characters, and bytes beyond ASCII.
fn canonical(path: &str) -> String {
    let mut parts = path.split('%');
    let mut canonical = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let escaped = part.get(..2).and_then(|hex| {
            let is_hex = hex.bytes().all(|byte| byte.is_ascii_hexdigit());
            u8::from_str_radix(hex, 16).ok().filter(|_| is_hex)
        });
        match escaped {
            Some(byte @ b' '..=b'~') if !b"/%".contains(&byte) => canonical.push(byte.into()),
            Some(byte) => canonical.push_str(&format!("%{byte:02X}")),
            None => {
                canonical.push('%');
                canonical.push_str(part);
                continue;
            }
        }
        canonical.push_str(&part[2..]);
    }
    canonical
}

/// A request that can be parsed repeatedly.
struct Incoming {
    parts: Parts,
    body: Bytes,
    info: Arc<RequestInfo>,
}

impl Incoming {
    async fn read(request: Request) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let body = read_body(body).await?;
        let path = parts.extensions.get::<MatchedPath>().map_or_else(
            || parts.uri.path().to_owned(),
            |path| path.as_str().to_owned(),
        );
        let info = Arc::new(RequestInfo {
            headers: parts.headers.clone(),
            route: format!("{} {path}", parts.method),
            target: target(&parts),
            body: body.clone(),
            session: parts
                .extensions
                .get::<SessionState>()
                .cloned()
                .unwrap_or(SessionState::Nobody),
        });
        Ok(Self { parts, body, info })
    }

    /// Returns whether the endpoint requires an idempotency key.
    fn needs_key(&self) -> bool {
        self.parts.extensions.get::<KeyRequired>().is_some()
    }

    fn request(&self) -> Request {
        Request::from_parts(self.parts.clone(), Body::from(self.body.clone()))
    }

    /// Creates the context and the span: within the current request of this process, or in a new
    /// trace.
    fn context(&self, service: &ServiceContext) -> (Context, Span) {
        let parent = telemetry::current().map(|context| context.trace);
        let id = service.runtime.id();
        let trace = parent.map_or_else(|| TraceParent::of(id), |parent| parent.child_of_id(id));
        let what = format_args!("{}", self.info.route);
        (
            Context::at(trace),
            telemetry::unit_span(what, service.name, trace, parent),
        )
    }

    /// The input of a recorded attempt: without the body, which may contain a password.
    fn input(&self) -> Input {
        Input::Request {
            route: self.info.route.clone(),
        }
    }

    fn scope(&self, service: &Arc<ServiceContext>) -> Scope {
        let (id, now) = (service.runtime.id(), service.runtime.now());
        let meta = Meta {
            propagation: propagation(&self.info.headers),
            ..Meta::without_message(CorrelationId(id), now)
        };
        let command = CommandRequest::new(Arc::clone(&self.info));
        Scope::with_origin(Arc::clone(service), meta, Arc::new(command))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_spellings_of_a_path_are_one() {
        for (path, expected) in [
            ("/stock/TEA-1", "/stock/TEA-1"),
            ("/stock/TEA%2D1", "/stock/TEA-1"),
            ("/%73tock/%54%45%41%2d%31", "/stock/TEA-1"),
            ("/stock/a%2fb", "/stock/a%2Fb"),
            ("/stock/a%252Fb", "/stock/a%252Fb"),
            ("/stock/a%0a%c3%bc", "/stock/a%0A%C3%BC"),
            ("/stock/%%41%4", "/stock/%A%4"),
            ("/stock/%+1%", "/stock/%+1%"),
        ] {
            assert_eq!(canonical(path), expected, "{path}");
        }
        let two = [canonical("/a%2Fb/c"), canonical("/a/b%2Fc")];
        assert_ne!(two[0], two[1], "different parameters");
    }
}
