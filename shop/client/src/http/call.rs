//! A request, as the callers of this client describe it.

use ::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, HeaderName};
use ::http::{HeaderValue, Method, Request, Uri};
use bytes::Bytes;
use http_body_util::Full;
use serde::Serialize;

use super::{Base, Fault};

pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// One request. It can be sent again: everything in it is borrowed or shared.
#[derive(Clone, Debug)]
pub struct Call<'a> {
    pub(super) method: Method,
    pub(super) path: &'a str,
    auth: Option<&'a HeaderValue>,
    key: Option<&'a HeaderValue>,
    last_event: Option<&'a HeaderValue>,
    body: Option<Bytes>,
}

impl<'a> Call<'a> {
    /// A request without a body; `path` starts with `/` and may have a query.
    #[must_use]
    pub fn new(method: Method, path: &'a str) -> Self {
        Self {
            method,
            path,
            auth: None,
            key: None,
            last_event: None,
            body: None,
        }
    }

    /// `GET`.
    #[must_use]
    pub fn get(path: &'a str) -> Self {
        Self::new(Method::GET, path)
    }

    /// `POST`.
    #[must_use]
    pub fn post(path: &'a str) -> Self {
        Self::new(Method::POST, path)
    }

    /// `PUT`.
    #[must_use]
    pub fn put(path: &'a str) -> Self {
        Self::new(Method::PUT, path)
    }

    /// `DELETE`.
    #[must_use]
    pub fn delete(path: &'a str) -> Self {
        Self::new(Method::DELETE, path)
    }

    /// With `Authorization`, if there is one.
    #[must_use]
    pub fn auth(mut self, auth: impl Into<Option<&'a HeaderValue>>) -> Self {
        self.auth = auth.into();
        self
    }

    /// With an `Idempotency-Key`.
    #[must_use]
    pub fn key(mut self, key: &'a HeaderValue) -> Self {
        self.key = Some(key);
        self
    }

    /// With `Last-Event-ID`, if there is one.
    #[must_use]
    pub fn after(mut self, event: Option<&'a HeaderValue>) -> Self {
        self.last_event = event;
        self
    }

    /// With a JSON body.
    ///
    /// # Panics
    ///
    /// When the body has no form in JSON: a map whose keys are no strings.
    #[must_use]
    pub fn json(self, body: &impl Serialize) -> Self {
        let body = serde_json::to_vec(body).expect("bodies are structs, which have a form in JSON");
        self.json_bytes(body.into())
    }

    /// With a body that is JSON already.
    #[must_use]
    pub fn json_bytes(mut self, body: Bytes) -> Self {
        self.body = Some(body);
        self
    }

    /// The request on the wire.
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
