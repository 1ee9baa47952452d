//! The log of what administrators change.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::Request;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use uuid::Uuid;

/// A note that the route has the extractor [`Admin`](super::Admin).
#[derive(Clone, Debug, Default)]
struct Mark(Arc<AtomicBool>);

/// A request of an administrator that may change something.
pub(super) struct Action {
    mark: Mark,
    by: Uuid,
    method: Method,
    path: String,
}

impl Action {
    /// Creates the action of an administrator's request.
    pub(super) fn new(by: Uuid, request: &mut Request) -> Self {
        let mark = Mark::default();
        request.extensions_mut().insert(mark.clone());
        Self {
            mark,
            by,
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
        }
    }

    /// Logs the action if it was carried out, and if only an administrator may do it.
    pub(super) fn log(self, answered: StatusCode) {
        let Self {
            mark,
            by,
            method,
            path,
        } = self;
        if mark.0.load(Ordering::Relaxed) && answered.is_success() {
            let status = answered.as_u16();
            tracing::info!(target: "audit", %by, %method, path, status, "administrator's request carried out");
        }
    }
}

/// Marks a request as one that only an administrator may send.
pub(super) fn requires_admin(parts: &Parts) {
    if let Some(Mark(mark)) = parts.extensions.get() {
        mark.store(true, Ordering::Relaxed);
    }
}
