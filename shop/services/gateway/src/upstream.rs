//! A service behind the gateway: its replicas, and the limits that protect the gateway from it.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use wingbeat::Timestamp;
use wingbeat::call::breaker::{Admission, Breaker, Pass};
use wingbeat::telemetry::LogLimit;
use wingbeat::telemetry::metrics::{self, Counter, Gauge, Histogram};

/// The limits that protect the gateway from a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most requests that wait for a reply of the service. Further requests are refused, so
    /// that a slow service does not slow down others.
    pub waiting_max: usize,
    /// The number of consecutive requests without a reply that opens the breaker.
    pub failures_max: u32,
    /// The time for which the breaker stays open. One request after it is a probe.
    pub open_for: Duration,
    /// The time within which a reply must begin, if no other replica may be tried.
    pub answer_within: Duration,
    /// The time within which the reply to a request that can be repeated must begin, while another
    /// replica is ready. Then the other one is tried.
    pub try_within: Duration,
    /// The time for all attempts at a request that can be repeated, if there are several replicas.
    /// It is shorter than the patience of clients.
    pub repeat_within: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            waiting_max: 512,
            failures_max: 5,
            open_for: Duration::from_secs(1),
            answer_within: Duration::from_secs(20),
            try_within: Duration::from_secs(4),
            repeat_within: Duration::from_secs(9),
        }
    }
}

/// The time for which a draining replica is tried last.
const DRAINING_FOR: Duration = Duration::from_secs(3);
/// The time for which a silent replica is tried last. Then one request finds out whether it
/// answers.
const SILENT_FOR: Duration = Duration::from_secs(10);

/// A replica of a service.
pub(crate) struct Replica {
    url: String,
    /// The time until which the replica counts as draining, in microseconds since the epoch.
    draining_until: AtomicI64,
    /// The time until which the replica counts as silent, likewise; [`NEVER`] if it has answered
    /// since it was silent.
    silent_until: AtomicI64,
}

/// A time before all others.
const NEVER: i64 = i64::MIN;

impl Replica {
    fn at(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            draining_until: AtomicI64::new(NEVER),
            silent_until: AtomicI64::new(NEVER),
        }
    }

    /// Returns the base URL.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Marks the replica as draining. A replica that shuts down closes its connections with its
    /// replies.
    pub(crate) fn drains(&self, now: Timestamp) {
        let until = (now + DRAINING_FOR).as_micros();
        self.draining_until.store(until, Ordering::Relaxed);
    }

    /// Marks the replica as silent: it has accepted a request and not answered in time.
    pub(crate) fn falls_silent(&self, now: Timestamp) {
        let until = (now + SILENT_FOR).as_micros();
        self.silent_until.store(until, Ordering::Relaxed);
    }

    /// Notes that a request is sent. The first one to a replica that was silent is a trial: until
    /// it is answered, other requests still avoid the replica.
    pub(crate) fn tried(&self, now: Timestamp) {
        let until = self.silent_until.load(Ordering::Relaxed);
        if until != NEVER && until <= now.as_micros() {
            self.falls_silent(now);
        }
    }

    /// Notes an answer.
    pub(crate) fn answered(&self) {
        if self.silent_until.load(Ordering::Relaxed) != NEVER {
            self.silent_until.store(NEVER, Ordering::Relaxed);
        }
    }

    /// Returns whether the replica is neither draining nor silent.
    pub(crate) fn is_ready(&self, now: Timestamp) -> bool {
        let until = [&self.draining_until, &self.silent_until];
        until
            .iter()
            .all(|until| until.load(Ordering::Relaxed) <= now.as_micros())
    }
}

/// A service and its replicas.
pub struct Upstream {
    name: String,
    replicas: Vec<Replica>,
    next: AtomicUsize,
    limits: Limits,
    breaker: Mutex<Breaker>,
    permits: Semaphore,
    /// The time until a reply began.
    answered: Histogram,
    /// The time until a request failed without a reply.
    unanswered: Histogram,
    refused: Counter,
    open: Gauge,
    /// Limits the log lines about requests without a reply.
    pub(crate) silence: LogLimit,
}

impl Upstream {
    /// Creates an upstream from the base URLs of the replicas, separated by commas.
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
            limits: *limits,
            breaker: Mutex::new(Breaker::new(limits.failures_max, limits.open_for, now)),
            permits: Semaphore::new(limits.waiting_max),
            answered: asked("answered".to_owned()),
            unanswered: asked("unanswered".to_owned()),
            refused: metrics::counter!("wingbeat_upstream_refused_total", &upstream),
            open: metrics::gauge!("wingbeat_upstream_open", &upstream),
            silence: LogLimit::new(1, Duration::from_secs(5)),
        }
    }

    /// Returns the name of the service.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns a permit to wait for a reply; `None` if too many requests are waiting.
    pub(crate) fn permit(&self) -> Option<SemaphorePermit<'_>> {
        let permit = self.permits.try_acquire().ok();
        self.refused.increment(u64::from(permit.is_none()));
        permit
    }

    /// Returns the replicas, round robin. Draining and silent replicas come last.
    pub(crate) fn in_turn(&self, now: Timestamp) -> impl Iterator<Item = &Replica> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let count = self.replicas.len();
        let turn = move |step| &self.replicas[(first + step) % count];
        let of = move |ready| {
            let all = (0..count).map(turn);
            all.filter(move |it| it.is_ready(now) == ready)
        };
        of(true).chain(of(false))
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Admits a request; `None` while the breaker is open.
    pub(crate) fn admit(&self, now: Timestamp) -> Option<InFlight<'_>> {
        let admission = self.breaker().admit(now);
        let Admission::Go(pass) = admission else {
            self.refused.increment(1);
            return None;
        };
        let upstream = self;
        Some(InFlight { upstream, pass })
    }

    /// Returns the time for all attempts at a request.
    pub(crate) fn time_for(&self, repeatable: bool) -> Duration {
        if repeatable && self.replicas.len() > 1 {
            self.limits.repeat_within
        } else {
            self.limits.answer_within
        }
    }

    /// Returns the time for one attempt, if there is another replica to try.
    pub(crate) fn try_within(&self) -> Duration {
        self.limits.try_within
    }
}

/// A request in flight. Dropping it without an outcome, because its caller has disconnected, has no
/// effect on the breaker, except that a probe makes way for the next one.
pub(crate) struct InFlight<'a> {
    upstream: &'a Upstream,
    pass: Pass,
}

impl InFlight<'_> {
    /// Records the outcome: whether the service replied, and after which time. `request`
    /// distinguishes requests for the breaker.
    pub(crate) fn ended(self, replied: bool, took: Duration, request: &str, now: Timestamp) {
        let upstream = self.upstream;
        let mut breaker = upstream.breaker();
        if replied {
            upstream.answered.record(took.as_secs_f64());
            breaker.answered(self.pass, request, took, now);
        } else {
            upstream.unanswered.record(took.as_secs_f64());
            breaker.failed(self.pass, request, now);
        }
        upstream.open.set(breaker.state().0.openness());
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.upstream.breaker().released(self.pass);
    }
}
