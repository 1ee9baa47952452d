//! Health, readiness and metrics.
//!
//! - [`catalogue`]: the metrics there are. `page`: figures of one moment as text. `scrape`: where they are found.

pub mod catalogue;
mod page;
mod scrape;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use axum::middleware::map_response;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde::Serialize;
use wingbeat::http::{Problem, Routes, get};
use wingbeat::runtime::SharedRuntime;
use wingbeat::{JsonSchema, Result, schemars};

use crate::Host;
use page::Page;

/// Whether the process is open: after migrations, seeding and subscriptions, until it drains; and while its
/// servers answer.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<Gates>);

#[derive(Debug, Default)]
struct Gates {
    open: AtomicBool,
    /// It was open, and will not be again.
    closing: AtomicBool,
    /// What is wrong with the servers.
    wrong: Mutex<Option<Wrong>>,
}

#[derive(Clone, Debug)]
struct Wrong {
    code: &'static str,
    words: String,
}

impl Readiness {
    /// Opens.
    pub fn open(&self) {
        self.0.open.store(true, Ordering::Release);
    }

    /// Closes, for good.
    pub fn close(&self) {
        self.0.open.store(false, Ordering::Release);
        self.0.closing.store(true, Ordering::Release);
    }

    fn is_closing(&self) -> bool {
        self.0.closing.load(Ordering::Acquire)
    }

    /// Whether `/readyz` says so.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.open.load(Ordering::Acquire) && self.0.wrong().is_none()
    }

    /// The servers answer, or what is wrong with them.
    pub fn servers(&self, answer: Result<()>) {
        let wrong = answer.err().map(|why| Wrong {
            code: why.code(),
            words: why.to_string(),
        });
        let before = std::mem::replace(&mut *self.0.wrong(), wrong.clone());
        match wrong {
            Some(Wrong { code, words }) if before.as_ref().is_none_or(|it| it.code != code) => {
                tracing::warn!(code, "not ready: {words}");
            }
            None if before.is_some() => tracing::warn!("store and broker answer again"),
            _ => {}
        }
    }
}

impl Gates {
    fn wrong(&self) -> MutexGuard<'_, Option<Wrong>> {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// `/healthz` and `/readyz`, on the public port.
pub fn health(readiness: Readiness) -> Router {
    described().with_state(readiness).into_router()
}

/// The routes, without the process that they are about.
pub(crate) fn described() -> Routes<Readiness> {
    Routes::new()
        .route(
            "/healthz",
            get(|| async { Json(Health { status: "ok" }) })
                .summary("The process is alive")
                .answers::<Health>(200),
        )
        .route(
            "/readyz",
            get(ready)
                .summary("The process takes requests, and its servers answer")
                .answers::<Health>(200)
                .problem(
                    503,
                    "not_ready",
                    "The process is starting or stopping, or a server does not answer.",
                ),
        )
        .tag("health")
}

/// The answer of a process in good health.
#[derive(Serialize, JsonSchema)]
struct Health {
    status: &'static str,
}

/// While the process is closing, the last answer of each connection says so: whoever asks again connects anew, and
/// by then elsewhere.
pub fn parting(routes: Router, readiness: Readiness) -> Router {
    let close = HeaderValue::from_static("close");
    routes.layer(map_response(move |mut answer: Response| {
        if readiness.is_closing() {
            answer.headers_mut().insert(CONNECTION, close.clone());
        }
        async { answer }
    }))
}

async fn ready(State(Readiness(open)): State<Readiness>) -> Response {
    if !open.open.load(Ordering::Acquire) {
        return Problem::new(503, "not_ready", "starting, or stopping").into_response();
    }
    if let Some(why) = open.wrong().as_ref() {
        return Problem::new(503, why.code, why.words.clone()).into_response();
    }
    Json(Health { status: "ready" }).into_response()
}

/// Buckets of times, in seconds: from a fast commit to a provider that hangs.
const SECONDS: [f64; 12] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];
/// Buckets of batch sizes.
const UNITS: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// Starts recording metrics; `None` when this process records them already.
#[must_use]
pub fn record() -> Option<PrometheusHandle> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS)
        .and_then(|builder| {
            builder.set_buckets_for_metric(Matcher::Suffix("_units".into()), &UNITS)
        })
        .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_size".into()), &UNITS))
        .and_then(PrometheusBuilder::install_recorder)
        .ok()?;
    catalogue::describe();
    Some(handle)
}

/// How often samples are put into their buckets. Until then each takes a place in memory, scraped or not.
const UPKEEP_EVERY: Duration = Duration::from_secs(1);

/// Puts samples into their buckets, for ever.
pub async fn upkeep(handle: PrometheusHandle, runtime: SharedRuntime) {
    loop {
        runtime.sleep(UPKEEP_EVERY).await;
        handle.run_upkeep();
    }
}

#[derive(Clone)]
struct Metrics {
    host: Arc<Host>,
    readiness: Readiness,
    handle: PrometheusHandle,
}

/// `/metrics`, on the ops port.
pub fn metrics(host: Arc<Host>, readiness: Readiness, handle: PrometheusHandle) -> Router {
    Router::new()
        .route("/metrics", routing::get(render))
        .with_state(Metrics {
            host,
            readiness,
            handle,
        })
}

/// Always answers: what store and broker do not tell is left out.
async fn render(State(metrics): State<Metrics>) -> Response {
    let mut page = Page::default();
    let ready = f64::from(u8::from(metrics.readiness.is_ready()));
    page.gauge("wingbeat_ready", &[], ready);
    scrape::look(&metrics.host, &mut page).await;
    let kind = [("content-type", "text/plain; version=0.0.4; charset=utf-8")];
    (kind, page.render() + &metrics.handle.render()).into_response()
}
