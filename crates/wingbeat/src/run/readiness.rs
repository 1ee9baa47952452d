//! Readiness: `/healthz` and `/readyz`, and `Connection: close` on the responses of an ending
//! process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use futures_util::future::join;
use schemars::JsonSchema;
use serde::Serialize;

use crate::http::{Problem, Routes, get};
use crate::{Ports, Result};

/// The pause between two checks of the servers.
const PING_EVERY: Duration = Duration::from_secs(1);

/// The readiness of a process: open after migrations, subscriptions and preparation until it
/// drains, and while store and broker can be used. Without the cache the process is ready, since
/// the readers of the cache work without it; `/readyz` names the cache as unavailable.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Gates>);

#[derive(Debug, Default)]
struct Gates {
    open: AtomicBool,
    closing: AtomicBool,
    servers: Checked,
    cache: Checked,
}

/// The last check of something.
#[derive(Debug, Default)]
struct Checked(Mutex<Option<Wrong>>);

impl Checked {
    /// Returns the reason why it cannot be used.
    fn wrong(&self) -> Option<Wrong> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Stores the result of a check, and returns the one before.
    fn store(&self, wrong: Option<Wrong>) -> Option<Wrong> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *last, wrong)
    }
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
        self.0.open.load(Ordering::Acquire) && self.0.servers.wrong().is_none()
    }

    /// Checks store, broker and cache once a second until it is dropped. Each change is logged.
    pub async fn watch(self, ports: Ports) {
        loop {
            self.check(&ports).await;
            ports.runtime.sleep(PING_EVERY).await;
        }
    }

    /// Checks store, broker and cache.
    async fn check(&self, ports: &Ports) {
        let (servers, cache) = join(ports.ping(), ports.ping_cache()).await;
        let (wrong, before) = noted(&self.0.servers, servers);
        match (wrong, before) {
            (Some(Wrong { code, text }), before) if before != Some(code) => {
                tracing::warn!(code, "not ready: {text}");
            }
            (None, Some(_)) => tracing::warn!("ready: store and broker answer again"),
            _ => {}
        }
        let (wrong, before) = noted(&self.0.cache, cache);
        match (wrong, before) {
            (Some(Wrong { code, text }), before) if before != Some(code) => {
                tracing::warn!(code, "the cache is unavailable: {text}");
            }
            (None, Some(_)) => tracing::warn!("the cache is available again"),
            _ => {}
        }
    }
}

/// Stores the result of a check. Returns the reason of a failure, and the code before.
fn noted(checked: &Checked, result: Result<()>) -> (Option<Wrong>, Option<&'static str>) {
    let wrong = result.err().map(|why| Wrong {
        code: why.code(),
        text: why.to_string(),
    });
    let before = checked.store(wrong.clone());
    (wrong, before.map(|it| it.code))
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
                .summary("The process is ready, and store and broker answer")
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
    /// Servers that the process works without, and that are unavailable: `cache`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unavailable: Vec<&'static str>,
}

impl Health {
    fn of(status: &'static str) -> Self {
        let unavailable = Vec::new();
        Self {
            status,
            unavailable,
        }
    }
}

async fn alive() -> Json<Health> {
    Json(Health::of("ok"))
}

async fn ready(State(Readiness(gates)): State<Readiness>) -> Response {
    if !gates.open.load(Ordering::Acquire) {
        return Problem::new(503, "not_ready", "starting or stopping").into_response();
    }
    if let Some(why) = gates.servers.wrong() {
        return Problem::new(503, why.code, why.text).into_response();
    }
    let mut health = Health::of("ready");
    health
        .unavailable
        .extend(gates.cache.wrong().map(|_| "cache"));
    Json(health).into_response()
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
