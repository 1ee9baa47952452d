//! Extractors for routes and commands.

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::HttpBody as _;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use serde::de::DeserializeOwned;
use wingbeat_core::{Error, HasSchema, Result};

use super::describe::DescribeRequest;
use super::objects::Objects;
use super::problem::{FieldError, Problem};
use super::server::BODY_MAX;
use super::session::SessionState;
use super::unread::TooSlow;
use crate::describe::RequestDescription;
use crate::extract::Extract;
use crate::state::Reads;
use crate::unit::{Scope, ServiceContext};

/// The request that the extractors of a command read.
pub struct RequestInfo {
    /// The headers.
    pub headers: HeaderMap,
    /// The method and the route, whose parameters are not filled in.
    pub route: String,
    /// The path, with all escapes decoded that do not change its meaning, and without the query.
    pub target: String,
    /// The whole body.
    pub body: Bytes,
    pub(crate) session: SessionState,
}

/// The request of a command, which is the origin of its scope.
pub(crate) struct CommandRequest {
    pub(crate) info: Arc<RequestInfo>,
    /// The key under which the reply is stored.
    reply_key: Mutex<Option<IdempotencyKey>>,
}

impl CommandRequest {
    pub(crate) fn new(info: Arc<RequestInfo>) -> Self {
        let reply_key = Mutex::default();
        Self { info, reply_key }
    }

    /// Returns the request that `scope` was made for, if it belongs to a command.
    pub(crate) fn of(scope: &Scope) -> Option<&Self> {
        scope.origin()
    }

    /// Stores the reply under this key.
    pub(crate) fn keep_reply_under(&self, key: IdempotencyKey) {
        *self
            .reply_key
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(key);
    }

    pub(crate) fn reply_key(&self) -> Option<IdempotencyKey> {
        let key = self.reply_key.lock();
        key.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// An extractor for a JSON body. It answers 400 for malformed JSON, 415 for another content type or
/// a compressed body, and 422 for wrong or unknown fields. Structs are read from objects only, not
/// from arrays.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use wingbeat::prelude::*;
///
/// #[derive(Serialize, Deserialize, JsonSchema)]
/// #[serde(deny_unknown_fields)]
/// struct Guest {
///     name: String,
/// }
///
/// async fn register(Json(guest): Json<Guest>) -> Result<Reply, Problem> {
///     if guest.name.is_empty() {
///         return Err(Problem::invalid("/name", "must not be empty"));
///     }
///     Ok(created(&guest))
/// }
///
/// let routes = Routes::new().route("/guests", post(register));
/// # let hotel = Service::new("hotel").routes(routes);
/// # #[cfg(feature = "test")]
/// # {
/// # use wingbeat::serde_json::json;
/// # let app = wingbeat::test::TestApp::start(1, App::new().service(hotel));
/// # let register = |body| app.ask("POST", "/guests", "", &body).0;
/// # assert_eq!(register(json!({ "name": "Ada" })), 201);
/// # assert_eq!(register(json!({ "name": "" })), 422);
/// # assert_eq!(register(json!({ "nme": "Ada" })), 422);
/// # }
/// ```
pub struct Json<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let kind = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .unwrap_or_default();
        let kind = kind
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        if kind != "application/json" && !kind.ends_with("+json") {
            return Err(Problem::new(
                415,
                "unsupported_media_type",
                "send `Content-Type: application/json`",
            ));
        }
        let mut encodings = request.headers().get_all(header::CONTENT_ENCODING).iter();
        if encodings.any(|it| !it.as_bytes().eq_ignore_ascii_case(b"identity")) {
            let detail = "send the body without a `Content-Encoding`";
            return Err(Problem::new(415, "unsupported_media_type", detail));
        }
        let body = read_body(request.into_body()).await?;
        parse(&body).map(Self)
    }
}

impl<T: HasSchema> DescribeRequest for Json<T> {
    fn describe(request: &mut RequestDescription) {
        request
            .json::<T>()
            .problem(400, "malformed_json", "The body is not JSON.")
            .problem(408, "request_timeout", "The body does not arrive in time.")
            .problem(413, "body_too_large", "The body is larger than 64 KiB.")
            .problem(
                415,
                "unsupported_media_type",
                "The content type is not JSON, or the body is compressed.",
            )
            .problem(
                422,
                "invalid",
                "Fields are missing, unknown or out of bounds.",
            );
    }
}

/// Reads the body of a request, for routes without an extractor of the body.
///
/// # Errors
///
/// 413 `body_too_large` if it is larger than 64 KiB, at once if the request says so; 408
/// `request_timeout` if it does not arrive in time; 400 `malformed_request` if it breaks off or
/// violates its encoding.
pub async fn read_body(body: axum::body::Body) -> Result<Bytes, Problem> {
    if body.size_hint().lower() > BODY_MAX as u64 {
        return Err(too_large());
    }
    let read = axum::body::to_bytes(body, BODY_MAX).await;
    read.map_err(|why| unread(&why))
}

/// Returns the problem of a body that cannot be read.
fn unread(why: &axum::Error) -> Problem {
    if is_caused_by::<http_body_util::LengthLimitError>(why) {
        return too_large();
    }
    if is_caused_by::<TooSlow>(why) {
        return Problem::new(408, "request_timeout", "the body did not arrive in time");
    }
    let detail = "the body breaks off or is malformed";
    Problem::new(400, "malformed_request", detail)
}

fn is_caused_by<E: std::error::Error + 'static>(why: &axum::Error) -> bool {
    let why: &(dyn std::error::Error + 'static) = why;
    std::iter::successors(Some(why), |why| why.source()).any(|why| why.is::<E>())
}

fn too_large() -> Problem {
    Problem::new(413, "body_too_large", "the body is larger than 64 KiB")
}

/// Returns the problem of a text with U+0000, which PostgreSQL cannot store. Such a text is refused
/// here, so that every store answers alike.
fn nul(pointer: &str) -> Problem {
    Problem::invalid(pointer, "the character U+0000 is not allowed")
}

/// Returns the JSON pointer of the first text or name in a body that contains U+0000.
fn nul_in(body: &[u8]) -> Option<String> {
    // JSON can only contain it as this escape, which few bodies contain.
    let escaped = b"\\u0000";
    body.windows(escaped.len()).find(|it| *it == escaped)?;
    let json: serde_json::Value = serde_json::from_slice(body).ok()?;
    nul_below(&json, String::new())
}

fn nul_below(json: &serde_json::Value, at: String) -> Option<String> {
    use serde_json::Value;
    match json {
        Value::String(text) => text.contains('\0').then_some(at),
        Value::Array(items) => {
            let mut items = items.iter().enumerate();
            items.find_map(|(index, item)| nul_below(item, format!("{at}/{index}")))
        }
        Value::Object(fields) => fields.iter().find_map(|(name, value)| {
            if name.contains('\0') {
                return Some(at.clone());
            }
            nul_below(value, format!("{at}/{}", escaped(name)))
        }),
        _ => None,
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    if let Some(pointer) = nul_in(body) {
        return Err(nul(&pointer));
    }
    let mut json = serde_json::Deserializer::from_slice(body);
    let parsed = serde_path_to_error::deserialize(Objects(&mut json)).map_err(|error| {
        let pointer = pointer(error.path());
        let why = error.into_inner();
        match why.classify() {
            serde_json::error::Category::Data => Problem::fields(vec![FieldError {
                pointer,
                message: shorten(&why.to_string()),
            }]),
            _ => Problem::new(400, "malformed_json", shorten(&why.to_string())),
        }
    })?;
    json.end()
        .map_err(|why| Problem::new(400, "malformed_json", shorten(&why.to_string())))?;
    Ok(parsed)
}

fn shorten(text: &str) -> String {
    text.chars().take(200).collect()
}

/// Returns a name as a part of a JSON pointer (RFC 6901).
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter()
        .map(|segment| match segment {
            Segment::Seq { index } => format!("/{index}"),
            Segment::Map { key } => format!("/{}", escaped(key)),
            Segment::Enum { variant } => format!("/{variant}"),
            Segment::Unknown => String::new(),
        })
        .collect()
}

/// The character U+0000 in a path or a query.
const NUL: &str = "%00";

/// An extractor for a path parameter, or for a tuple of several. It answers 404 if one of them
/// cannot be parsed.
///
/// ```
/// use wingbeat::prelude::*;
///
/// async fn show(Path((floor, room)): Path<(u8, String)>) -> Result<Reply, Problem> {
///     Ok(ok(&format!("room {room} on floor {floor}")))
/// }
///
/// let routes = Routes::new().route("/floors/{floor}/rooms/{room}", get(show));
/// # let hotel = Service::new("hotel").routes(routes);
/// # #[cfg(feature = "test")]
/// # {
/// # let app = wingbeat::test::TestApp::start(1, App::new().service(hotel));
/// # let show = |path| app.ask("GET", path, "", &wingbeat::serde_json::Value::Null).0;
/// # assert_eq!((show("/floors/2/rooms/7b"), show("/floors/x/rooms/7b")), (200, 404));
/// # }
/// ```
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        if parts.uri.path().contains(NUL) {
            return Err(Problem::not_found());
        }
        let path = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(value)| Self(value))
            .map_err(|_| Problem::not_found())
    }
}

impl<T: HasSchema> DescribeRequest for Path<T> {
    fn describe(request: &mut RequestDescription) {
        request
            .path::<T>()
            .problem(404, "not_found", "It does not exist.");
    }
}

/// An extractor for query parameters. It answers 422 if one cannot be parsed, or is unknown and the
/// type denies unknown fields.
///
/// ```
/// use serde::Deserialize;
/// use wingbeat::prelude::*;
///
/// #[derive(Deserialize, JsonSchema)]
/// #[serde(deny_unknown_fields)]
/// struct Wanted {
///     beds: Option<u8>,
/// }
///
/// async fn search(Query(wanted): Query<Wanted>) -> Result<Reply, Problem> {
///     Ok(ok(&wanted.beds.unwrap_or(1)))
/// }
///
/// let routes = Routes::new().route("/rooms", get(search));
/// # let hotel = Service::new("hotel").routes(routes);
/// # #[cfg(feature = "test")]
/// # {
/// # let app = wingbeat::test::TestApp::start(1, App::new().service(hotel));
/// # let search = |path| app.ask("GET", path, "", &wingbeat::serde_json::Value::Null).0;
/// # assert_eq!((search("/rooms?beds=2"), search("/rooms?bed=2")), (200, 422));
/// # }
/// ```
pub struct Query<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let mut pairs = parts.uri.query().unwrap_or_default().split('&');
        if let Some(pair) = pairs.find(|pair| pair.contains(NUL)) {
            let name = pair.split('=').next().unwrap_or_default();
            return Err(nul(&format!("/{}", escaped(name))));
        }
        let query = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        query
            .map(|axum::extract::Query(value)| Self(value))
            .map_err(|why| Problem::invalid("", shorten(&why.to_string())))
    }
}

impl<T: HasSchema> DescribeRequest for Query<T> {
    fn describe(request: &mut RequestDescription) {
        request
            .query::<T>()
            .problem(422, "invalid", "Parameters are unknown or out of bounds.");
    }
}

/// The service that a route belongs to, for routes that run units of work themselves. Most routes
/// need [`command`](super::command) or [`Reads`] only.
///
/// ```
/// use wingbeat::http::{Context, Problem, Routes, no_content, plain};
/// use wingbeat::{Claims, run_unit};
///
/// /// Claims a seat, and acts once the claim is durable.
/// async fn claim(Context(service): Context) -> Result<wingbeat::http::Reply, Problem> {
///     let claimed = run_unit(&service, |scope| async move {
///         Claims::of(&scope).claim("seat", "4A", "ada").await
///     });
///     if !claimed.await? {
///         return Err(Problem::new(409, "taken", "somebody else has the seat"));
///     }
///     Ok(no_content())
/// }
/// ```
#[derive(Clone)]
pub struct Context(pub Arc<ServiceContext>);

impl<S: Send + Sync> FromRequestParts<S> for Context {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let context = parts.extensions.get::<Arc<ServiceContext>>().cloned();
        let context = context.ok_or_else(belongs_to_no_service)?;
        Ok(Self(context))
    }
}

impl DescribeRequest for Context {}

fn belongs_to_no_service() -> Problem {
    Problem::new(500, "internal", "the route belongs to no service")
}

/// The reads of the service that a route belongs to.
impl<S: Send + Sync> FromRequestParts<S> for Reads {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let reads = parts.extensions.get::<Self>().cloned();
        reads.ok_or_else(belongs_to_no_service)
    }
}

/// An extractor for the required header `Idempotency-Key`: the
/// [operation id](crate::call#operation-ids) of the request. The runtime stores the response with
/// the unit and repeats it for the same key.
///
/// `post(handler).idempotent()` requires the header without this argument. Take the argument if the
/// handler needs the key itself.
///
/// ```
/// use wingbeat::prelude::*;
///
/// async fn order(_: Path<String>, key: IdempotencyKey) -> Result<Reply, Problem> {
///     Ok(accepted(&key.0))
/// }
///
/// let routes = Routes::new().route("/rooms/{room}/orders", post(order));
/// # let hotel = Service::new("hotel").routes(routes);
/// # #[cfg(feature = "test")]
/// # {
/// # let app = wingbeat::test::TestApp::start(1, App::new().service(hotel));
/// # let nothing = wingbeat::serde_json::Value::Null;
/// # assert_eq!(app.ask("POST", "/rooms/7/orders", "", &nothing).0, 400);
/// # assert_eq!(app.post("/rooms/7/orders", "", "k1", &nothing).0, 202);
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey(pub String);

impl IdempotencyKey {
    fn parse(headers: &HeaderMap) -> Result<Option<Self>> {
        let Some(value) = headers.get(HEADER) else {
            return Ok(None);
        };
        let bytes = value.as_bytes();
        let visible = bytes.iter().all(|byte| (0x21..=0x7e).contains(byte));
        if !visible || bytes.is_empty() || bytes.len() > 255 {
            return Err(Error::reject(
                "idempotency_key_malformed",
                "Idempotency-Key is 1 to 255 visible ASCII characters",
            ));
        }
        Ok(Some(Self(String::from_utf8_lossy(bytes).into_owned())))
    }
}

/// In routes that are not one unit of work, the handler stores the reply itself.
impl<S: Send + Sync> axum::extract::OptionalFromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Option<Self>, Problem> {
        Ok(Self::parse(&parts.headers)?)
    }
}

impl<S> Extract<Scope, S> for Option<IdempotencyKey> {
    fn extract(scope: &Scope, _state: &S) -> Result<Self> {
        let Some(command) = CommandRequest::of(scope) else {
            return Ok(None);
        };
        let key = IdempotencyKey::parse(&command.info.headers)?;
        if let Some(key) = &key {
            command.keep_reply_under(key.clone());
        }
        Ok(key)
    }

    fn describe(request: &mut RequestDescription) {
        <Self as DescribeRequest>::describe(request);
    }
}

impl<S> Extract<Scope, S> for IdempotencyKey {
    fn extract(scope: &Scope, state: &S) -> Result<Self> {
        <Option<Self> as Extract<Scope, S>>::extract(scope, state)?
            .ok_or_else(|| Error::reject("idempotency_key_missing", "send an Idempotency-Key"))
    }

    fn describe(request: &mut RequestDescription) {
        <Self as DescribeRequest>::describe(request);
    }
}

impl DescribeRequest for IdempotencyKey {
    fn describe(request: &mut RequestDescription) {
        request
            .header(HEADER, true, KEY)
            .problem(400, "idempotency_key_missing", "The key is missing.")
            .problem(400, "idempotency_key_malformed", MALFORMED)
            .problem(422, "idempotency_key_reused", REUSED);
    }
}

impl DescribeRequest for Option<IdempotencyKey> {
    fn describe(request: &mut RequestDescription) {
        request
            .header(HEADER, false, KEY)
            .problem(400, "idempotency_key_malformed", MALFORMED)
            .problem(422, "idempotency_key_reused", REUSED);
    }
}

/// The header that carries an idempotency key.
const HEADER: &str = "Idempotency-Key";
const KEY: &str =
    "Requests with the same key take effect once, and get the same answer for 24 hours.";
const MALFORMED: &str = "The key is longer than 255 characters or not visible ASCII.";
const REUSED: &str = "The key came with another body before.";

/// Empty where there is no request, for example in a stub of a test.
impl<S> Extract<Scope, S> for HeaderMap {
    fn extract(scope: &Scope, _state: &S) -> Result<Self> {
        Ok(CommandRequest::of(scope)
            .map(|command| command.info.headers.clone())
            .unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_character_zero_is_found_wherever_it_is() {
        let found = |body: &str| nul_in(body.as_bytes());
        assert_eq!(found(r#"{"a":"\u0000"}"#), Some("/a".into()));
        assert_eq!(
            found(r#"{"a":[1,{"b/c":"x\u0000"}]}"#),
            Some("/a/1/b~1c".into())
        );
        assert_eq!(found(r#"{"a":{"\u0000":1}}"#), Some("/a".into()));
        assert_eq!(
            found(r#"{"a":"\\u0000"}"#),
            None,
            "a backslash and five letters"
        );
        assert_eq!(found(r#"{"a":"\u0001"}"#), None);
        assert_eq!(found(r#"{"a":"\u0000"#), None, "not JSON");
    }
}
