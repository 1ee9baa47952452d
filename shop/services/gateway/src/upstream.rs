//! One service behind the gateway: its replicas, and what protects the gateway from it.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram};
use tokio::sync::{Semaphore, SemaphorePermit};
use wingbeat::Timestamp;
use wingbeat::call::breaker::{Admission, Breaker};

/// What protects the gateway from a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Requests that may wait for the service's answer at once; more are refused, so that a slow service takes
    /// no others with it.
    pub waiting_max: usize,
    /// Requests in a row without any answer until nobody asks for a while.
    pub failures_max: u32,
    /// How long nobody asks then; one request after it is a probe.
    pub open_for: Duration,
    /// Longest wait for the beginning of an answer.
    pub answer_within: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            waiting_max: 512,
            failures_max: 5,
            open_for: Duration::from_secs(1),
            answer_within: Duration::from_secs(20),
        }
    }
}

/// How long a replica that says goodbye is asked last.
const LEAVING_FOR: Duration = Duration::from_secs(3);

/// One replica.
pub(crate) struct Replica {
    url: String,
    /// Until when it is believed to be leaving, in microseconds since the epoch.
    leaving_until: AtomicI64,
}

impl Replica {
    fn at(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            leaving_until: AtomicI64::new(i64::MIN),
        }
    }

    /// Its base URL.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// It has closed a connection with its answer, as one does that is about to end.
    pub(crate) fn leaves(&self, now: Timestamp) {
        let until = (now + LEAVING_FOR).as_micros();
        self.leaving_until.store(until, Ordering::Relaxed);
    }

    fn is_leaving(&self, now: Timestamp) -> bool {
        now.as_micros() < self.leaving_until.load(Ordering::Relaxed)
    }
}

/// A service and its replicas.
pub struct Upstream {
    name: String,
    replicas: Vec<Replica>,
    next: AtomicUsize,
    answer_within: Duration,
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
    pub fn new(name: &str, urls: &str, limits: &Limits, now: Timestamp) -> Self {
        let urls = urls.split(',').map(|url| url.trim().trim_end_matches('/'));
        let urls = urls.filter(|url| !url.is_empty());
        let asked = |outcome| {
            let labels = [("upstream", name.to_owned()), ("outcome", outcome)];
            metrics::histogram!("wingbeat_http_client_request_duration_seconds", &labels)
        };
        let upstream = [("upstream", name.to_owned())];
        Self {
            name: name.to_owned(),
            replicas: urls.map(Replica::at).collect(),
            next: AtomicUsize::new(0),
            answer_within: limits.answer_within,
            breaker: Mutex::new(Breaker::new(limits.failures_max, limits.open_for, now)),
            places: Semaphore::new(limits.waiting_max),
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

    /// The replicas, each in its turn first; those that are leaving come last.
    pub(crate) fn in_turn(&self, now: Timestamp) -> impl Iterator<Item = &Replica> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let count = self.replicas.len();
        let turn = move |step| &self.replicas[(first + step) % count];
        let of = move |leaving| {
            let all = (0..count).map(turn);
            all.filter(move |it| it.is_leaving(now) == leaving)
        };
        of(false).chain(of(true))
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leave to ask; `None` while the service is left alone.
    pub(crate) fn admits(&self, now: Timestamp) -> Option<Asking<'_>> {
        let goes = self.breaker().admit(now) == Admission::Go;
        self.refused.increment(u64::from(!goes));
        goes.then_some(Asking { upstream: self })
    }

    /// Longest wait for the beginning of an answer.
    pub(crate) fn answer_within(&self) -> Duration {
        self.answer_within
    }
}

/// A request on its way. Dropped without an outcome (its caller has left), it says nothing about the
/// service, and a probe makes way for the next one.
pub(crate) struct Asking<'a> {
    upstream: &'a Upstream,
}

impl Asking<'_> {
    /// The service answered after so long, or not; `request` tells requests apart.
    pub(crate) fn ended(self, well: bool, took: Duration, request: &str, now: Timestamp) {
        let upstream = self.upstream;
        let histogram = if well {
            &upstream.answered
        } else {
            &upstream.unanswered
        };
        histogram.record(took.as_secs_f64());
        let mut breaker = upstream.breaker();
        match well {
            true => breaker.succeeded(now),
            false => breaker.failed(request, now),
        }
        upstream.open.set(breaker.state().0.openness());
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.upstream.breaker().released();
    }
}
