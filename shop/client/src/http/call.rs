//! The description of a request.

use std::time::Duration;

use ::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName};
use ::http::{HeaderValue, Method, Request, Uri};
use bytes::Bytes;
use http_body_util::Full;
use serde::Serialize;

use super::{Base, Fault};

pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// A request. It is cheap to clone and to send again, because its parts are borrowed or shared.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    pub(super) method: Method,
    pub(super) path: &'a str,
    auth: Option<&'a HeaderValue>,
    key: Option<&'a HeaderValue>,
    last_event: Option<&'a HeaderValue>,
    body: Option<Bytes>,
    pub(super) within: Option<Duration>,
}

impl<'a> Call<'a> {
    /// Creates a request without a body. `path` starts with `/` and can have a query.
    #[must_use]
    pub fn new(method: Method, path: &'a str) -> Self {
        Self {
            method,
            path,
            auth: None,
            key: None,
            last_event: None,
            body: None,
            within: None,
        }
    }

    /// Waits this long for the reply, instead of as long as the client's limits say.
    #[must_use]
    pub fn within(self, limit: Duration) -> Self {
        let within = Some(limit);
        Self { within, ..self }
    }

    /// Creates a `GET` request.
    #[must_use]
    pub fn get(path: &'a str) -> Self {
        Self::new(Method::GET, path)
    }

    /// Creates a `POST` request.
    #[must_use]
    pub fn post(path: &'a str) -> Self {
        Self::new(Method::POST, path)
    }

    /// Creates a `PUT` request.
    #[must_use]
    pub fn put(path: &'a str) -> Self {
        Self::new(Method::PUT, path)
    }

    /// Creates a `DELETE` request.
    #[must_use]
    pub fn delete(path: &'a str) -> Self {
        Self::new(Method::DELETE, path)
    }

    /// Sets the header `Authorization`, if there is a value.
    #[must_use]
    pub fn auth(mut self, auth: impl Into<Option<&'a HeaderValue>>) -> Self {
        self.auth = auth.into();
        self
    }

    /// Sets the header `Idempotency-Key`.
    #[must_use]
    pub fn key(mut self, key: &'a HeaderValue) -> Self {
        self.key = Some(key);
        self
    }

    /// Sets the header `Last-Event-ID`, if there is a value.
    #[must_use]
    pub fn after(mut self, event: Option<&'a HeaderValue>) -> Self {
        self.last_event = event;
        self
    }

    /// Sets a JSON body.
    ///
    /// # Panics
    ///
    /// If the body cannot be encoded as JSON, because it contains a map whose keys are not strings.
    #[must_use]
    pub fn json(self, body: &impl Serialize) -> Self {
        let body = serde_json::to_vec(body).expect("bodies are structs, which encode as JSON");
        self.json_bytes(body.into())
    }

    /// Sets a body that is encoded as JSON already.
    #[must_use]
    pub fn json_bytes(mut self, body: Bytes) -> Self {
        self.body = Some(body);
        self
    }

    /// Builds the HTTP request.
    pub(super) fn request(&self, base: &Base) -> Result<Request<Full<Bytes>>, Fault> {
        let uri: Uri = self.path.parse().map_err(|_| Fault::BadPath)?;
        let body = self.body.clone().unwrap_or_default();
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(HOST, base.header());
        if self.body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(event) = self.last_event {
            headers.insert(LAST_EVENT_ID, event.clone());
        }
        for (name, value) in [(AUTHORIZATION, self.auth), (IDEMPOTENCY_KEY, self.key)] {
            if let Some(value) = value {
                headers.insert(name, value.clone());
            }
        }
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        Ok(request)
    }
}
