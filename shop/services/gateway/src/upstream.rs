//! One service behind the gateway: its replicas, and what protects the gateway from it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram};
use tokio::sync::{Semaphore, SemaphorePermit};
use wingbeat::Timestamp;
use wingbeat::breaker::{Admission, Breaker};

/// Requests that may wait for a service's answer at once; more are refused, so that a slow service takes no
/// others with it.
const WAITING_MAX: usize = 512;
/// Requests in a row without any answer until nobody asks for a while.
const FAILURES_MAX: u32 = 5;
/// How long nobody asks then; one request after it is a probe.
const OPEN_FOR: Duration = Duration::from_secs(1);

/// A service and its replicas.
pub struct Upstream {
    name: String,
    replicas: Vec<String>,
    next: AtomicUsize,
    breaker: Mutex<Breaker>,
    places: Semaphore,
    /// How long answers took to begin.
    answered: Histogram,
    /// How long it took until there was none.
    unanswered: Histogram,
    refused: Counter,
    open: Gauge,
}

impl Upstream {
    /// A service at these base URLs, separated by commas.
    #[must_use]
    pub fn new(name: &str, urls: &str, now: Timestamp) -> Self {
        let urls = urls
            .split(',')
            .map(|url| url.trim().trim_end_matches('/').to_owned());
        let asked = |outcome| {
            let labels = [("upstream", name.to_owned()), ("outcome", outcome)];
            metrics::histogram!("wingbeat_http_client_request_duration_seconds", &labels)
        };
        let upstream = [("upstream", name.to_owned())];
        Self {
            name: name.to_owned(),
            replicas: urls.filter(|url| !url.is_empty()).collect(),
            next: AtomicUsize::new(0),
            breaker: Mutex::new(Breaker::new(FAILURES_MAX, OPEN_FOR, now)),
            places: Semaphore::new(WAITING_MAX),
            answered: asked("answered".to_owned()),
            unanswered: asked("unanswered".to_owned()),
            refused: metrics::counter!("wingbeat_upstream_refused_total", &upstream),
            open: metrics::gauge!("wingbeat_upstream_open", &upstream),
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A place to wait for an answer in; `None` when too many wait.
    pub(crate) fn place(&self) -> Option<SemaphorePermit<'_>> {
        let place = self.places.try_acquire().ok();
        self.refused.increment(u64::from(place.is_none()));
        place
    }

    /// The replicas, each in its turn first.
    pub(crate) fn in_turn(&self) -> impl Iterator<Item = &str> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let count = self.replicas.len();
        (0..count).map(move |step| self.replicas[(first + step) % count].as_str())
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether to ask.
    pub(crate) fn admits(&self, now: Timestamp) -> bool {
        let goes = self.breaker().admit(now) == Admission::Go;
        self.refused.increment(u64::from(!goes));
        goes
    }

    /// It answered after so long, or not; `request` tells requests apart.
    pub(crate) fn answered(&self, well: bool, took: Duration, request: &str, now: Timestamp) {
        let histogram = if well {
            &self.answered
        } else {
            &self.unanswered
        };
        histogram.record(took.as_secs_f64());
        let mut breaker = self.breaker();
        match well {
            true => breaker.succeeded(now),
            false => breaker.failed(request, now),
        }
        self.open.set(breaker.state().0.openness());
    }
}
