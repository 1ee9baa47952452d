//! Readiness: `/healthz` and `/readyz`, and `Connection: close` on the responses of an ending
//! process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use schemars::JsonSchema;
use serde::Serialize;

use crate::Result;
use crate::http::{Problem, Routes, get};

/// The readiness of a process. It opens after migrations, subscriptions and preparation, and closes
/// when the process drains. While it is open, it follows the servers' availability.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Gates>);

#[derive(Debug, Default)]
struct Gates {
    open: AtomicBool,
    closing: AtomicBool,
    /// The reason why a server is not usable.
    wrong: Mutex<Option<Wrong>>,
}

#[derive(Clone, Debug)]
struct Wrong {
    code: &'static str,
    text: String,
}

impl Readiness {
    /// Reports the process as ready from now on.
    pub fn open(&self) {
        self.0.open.store(true, Ordering::Release);
    }

    /// Reports the process as not ready, permanently.
    pub fn close(&self) {
        self.0.open.store(false, Ordering::Release);
        self.0.closing.store(true, Ordering::Release);
    }

    fn is_closing(&self) -> bool {
        self.0.closing.load(Ordering::Acquire)
    }

    /// Returns whether `/readyz` answers 200.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.open.load(Ordering::Acquire) && self.0.wrong().is_none()
    }

    /// Records the result of a check of the servers.
    pub fn servers(&self, checked: Result<()>) {
        let wrong = checked.err().map(|why| Wrong {
            code: why.code(),
            text: why.to_string(),
        });
        let before = std::mem::replace(&mut *self.0.wrong(), wrong.clone());
        match wrong {
            Some(Wrong { code, text }) if before.as_ref().is_none_or(|it| it.code != code) => {
                tracing::warn!(code, "not ready: {text}");
            }
            None if before.is_some() => tracing::warn!("ready: store and broker answer again"),
            _ => {}
        }
    }
}

impl Gates {
    fn wrong(&self) -> MutexGuard<'_, Option<Wrong>> {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `/healthz` and `/readyz`.
pub fn health(readiness: Readiness) -> Router {
    health_routes().with_state(readiness).into_router()
}

/// `/healthz` and `/readyz` with their descriptions. Set a readiness as their state.
pub fn health_routes() -> Routes<Readiness> {
    Routes::new()
        .route(
            "/healthz",
            get(alive)
                .summary("The process is alive")
                .answers::<Health>(200),
        )
        .route(
            "/readyz",
            get(ready)
                .summary("The process is ready, and its servers answer")
                .answers::<Health>(200)
                .problem(503, "not_ready", "The process is starting or stopping.")
                .problem(503, "servers_unavailable", "A server does not answer."),
        )
        .tag("health")
}

/// The response of a healthy process.
#[derive(Serialize, JsonSchema)]
struct Health {
    status: &'static str,
}

async fn alive() -> Json<Health> {
    Json(Health { status: "ok" })
}

async fn ready(State(Readiness(gates)): State<Readiness>) -> Response {
    if !gates.open.load(Ordering::Acquire) {
        return Problem::new(503, "not_ready", "starting or stopping").into_response();
    }
    if let Some(why) = gates.wrong().as_ref() {
        return Problem::new(503, why.code, why.text.clone()).into_response();
    }
    Json(Health { status: "ready" }).into_response()
}

/// Sets `Connection: close` on the responses of an ending process, so that clients reconnect to
/// another one.
pub(super) fn closing(routes: Router, readiness: Readiness) -> Router {
    let close = HeaderValue::from_static("close");
    routes.layer(map_response(move |mut answer: Response| {
        if readiness.is_closing() {
            answer.headers_mut().insert(CONNECTION, close.clone());
        }
        async { answer }
    }))
}
