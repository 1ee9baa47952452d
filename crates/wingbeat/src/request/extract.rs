//! Requests in routes.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use wingbeat_core::Error;

use super::ask::Requests;
use super::error::RequestError;
use crate::http::{DescribeRequest, Problem};

/// The requests of the service that a route belongs to.
impl<S: Send + Sync> FromRequestParts<S> for Requests {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let requests = parts.extensions.get::<Self>().cloned();
        requests.ok_or_else(|| {
            let text = "the service of the route declares no request: add `.asks::<_>()`";
            Error::reject("request_undeclared", text).into()
        })
    }
}

impl DescribeRequest for Requests {}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Rejected { code, detail, .. } => Self::new(422, &code, detail),
            RequestError::TimedOut { .. } => Self::new(504, error.code(), error.to_string()),
            // The caller should back off. An outage is logged.
            RequestError::Overloaded { .. } => Self::new(503, error.code(), error.to_string()),
            other => Error::from(other).into(),
        }
    }
}
