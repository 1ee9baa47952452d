//! What is measured: handles that are looked up once, so that measuring a message costs no look-up.
//!
//! Names and meanings stand in `docs/metrics.md`. Without a recorder all of it does nothing.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Counter, Histogram, counter, histogram};
use wingbeat_core::transport::Refused;
use wingbeat_core::unit::Outcome;
use wingbeat_core::{Name, Result};

/// The name of a subscription within its service.
pub(crate) fn short(queue: Name) -> &'static str {
    let queue = queue.as_str();
    queue.split_once('.').map_or(queue, |(_, name)| name)
}

/// What a unit does with the delivery that it settles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Handled for good.
    Handled,
    /// Put aside until its next attempt, after this error.
    Parked(&'static str),
    /// Given up, for this reason.
    Dead(&'static str),
}

/// A subscription's. Its handles are looked up when it starts, so that one that only stands there
/// to be looked at tells nothing.
pub(crate) struct SubscriptionMeter {
    labels: Labels,
    handles: OnceLock<Handles>,
}

type Labels = [(&'static str, &'static str); 2];

struct Handles {
    consumed: Counter,
    lag: Histogram,
    ran: Histogram,
    failed: Histogram,
    handled: Counter,
    duplicate: Counter,
    parked: Counter,
    dead: Counter,
}

impl Handles {
    fn new(labels: Labels) -> Self {
        let [service, subscription] = labels;
        let process = |outcome| {
            let labels = [service, subscription, ("outcome", outcome)];
            histogram!("wingbeat_messaging_process_duration_seconds", &labels)
        };
        let settled = |outcome| {
            let labels = [service, subscription, ("outcome", outcome)];
            counter!("wingbeat_messaging_settled_total", &labels)
        };
        Self {
            consumed: counter!("wingbeat_messaging_client_consumed_messages_total", &labels),
            lag: histogram!("wingbeat_messaging_lag_seconds", &labels),
            ran: process("ok"),
            failed: process("failed"),
            handled: settled("handled"),
            duplicate: settled("duplicate"),
            parked: settled("parked"),
            dead: settled("dead"),
        }
    }
}

impl SubscriptionMeter {
    pub(crate) fn new(service: Name, queue: Name) -> Self {
        let labels = [
            ("service", service.as_str()),
            ("subscription", short(queue)),
        ];
        Self {
            labels,
            handles: OnceLock::new(),
        }
    }

    /// Looks the handles up: it is there, if only with zeros.
    pub(crate) fn start(&self) {
        self.handles();
    }

    fn handles(&self) -> &Handles {
        self.handles.get_or_init(|| Handles::new(self.labels))
    }

    /// The broker handed out so many.
    pub(crate) fn consumed(&self, count: usize) {
        self.handles().consumed.increment(count as u64);
    }

    /// A delivery comes to its first attempt, so long after it was sent.
    pub(crate) fn begun(&self, after: Duration) {
        self.handles().lag.record(after.as_secs_f64());
    }

    /// The handler ran for so long.
    pub(crate) fn ran(&self, time: Duration, well: bool) {
        let handles = self.handles();
        let histogram = if well { &handles.ran } else { &handles.failed };
        histogram.record(time.as_secs_f64());
    }

    /// An attempt failed and is followed by another one, at once.
    pub(crate) fn retried(&self, error: &'static str) {
        self.failure(error, "retried");
    }

    /// A unit has its outcome.
    pub(crate) fn settled(&self, fate: Fate, outcome: Outcome) {
        let handles = self.handles();
        match (outcome, fate) {
            (Outcome::Duplicate, _) => handles.duplicate.increment(1),
            (Outcome::Committed, Fate::Handled) => handles.handled.increment(1),
            (Outcome::Committed, Fate::Parked(error)) => {
                handles.parked.increment(1);
                self.failure(error, "parked");
            }
            (Outcome::Committed, Fate::Dead(reason)) => {
                handles.dead.increment(1);
                self.failure(reason, "dead");
            }
            (Outcome::Stale | Outcome::Unmet(_) | Outcome::Refused, _) => {} /* It will have
                                                                              * another one. */
        }
    }

    /// Failures are few, so their handles are looked up.
    fn failure(&self, error: &'static str, then: &'static str) {
        let [service, subscription] = self.labels;
        let labels = [service, subscription, ("error_type", error), ("then", then)];
        counter!("wingbeat_messaging_failures_total", &labels).increment(1);
    }
}

/// The committer's.
pub(crate) struct CommitMeter {
    units: Histogram,
    seconds: Histogram,
}

impl CommitMeter {
    pub(crate) fn new() -> Self {
        Self {
            units: histogram!("wingbeat_commit_batch_units"),
            seconds: histogram!("wingbeat_commit_duration_seconds"),
        }
    }

    /// So many units had their outcomes after so long, submitted again and again if need be.
    pub(crate) fn committed(&self, units: usize, time: Duration) {
        self.units.record(units as f64);
        self.seconds.record(time.as_secs_f64());
    }
}

/// The relay's.
pub(crate) struct RelayMeter {
    batch: Histogram,
    seconds: Histogram,
    confirmed: Counter,
    unroutable: Counter,
    unconfirmed: Counter,
}

impl RelayMeter {
    pub(crate) fn new() -> Self {
        let sent = |outcome| {
            let labels = [("outcome", outcome)];
            counter!("wingbeat_messaging_client_sent_messages_total", &labels)
        };
        let operation = [("operation", "send")];
        Self {
            batch: histogram!("wingbeat_relay_batch_size"),
            seconds: histogram!(
                "wingbeat_messaging_client_operation_duration_seconds",
                &operation
            ),
            confirmed: sent("confirmed"),
            unroutable: sent("unroutable"),
            unconfirmed: sent("unconfirmed"),
        }
    }

    /// A batch was published, and the broker said what it took.
    pub(crate) fn published(&self, answers: &[std::result::Result<(), Refused>], time: Duration) {
        self.batch.record(answers.len() as f64);
        self.seconds.record(time.as_secs_f64());
        for answer in answers {
            let counter = match answer {
                Ok(()) => &self.confirmed,
                Err(Refused::Unroutable) => &self.unroutable,
                Err(Refused::Unconfirmed(_) | Refused::Impossible(_)) => &self.unconfirmed,
            };
            counter.increment(1);
        }
    }
}

/// An outside system's.
pub(crate) struct TargetMeter {
    labels: Labels,
    handles: OnceLock<[Histogram; 3]>,
}

impl TargetMeter {
    pub(crate) fn new(service: Name, target: &'static str) -> Self {
        Self {
            labels: [("service", service.as_str()), ("target", target)],
            handles: OnceLock::new(),
        }
    }

    fn handles(&self) -> &[Histogram; 3] {
        let [service, target] = self.labels;
        self.handles.get_or_init(|| {
            ["answered", "failed", "timeout"].map(|outcome| {
                let labels = [service, target, ("outcome", outcome)];
                histogram!("wingbeat_call_duration_seconds", &labels)
            })
        })
    }

    /// Counts a call that was given up.
    pub(crate) fn gave_up(&self, code: &'static str) {
        let [service, target] = self.labels;
        let labels = [service, target, ("error_type", code)];
        counter!("wingbeat_calls_given_up_total", &labels).increment(1);
    }

    /// Counts a change of the breaker to this state.
    pub(crate) fn breaker_changed(&self, state: &'static str) {
        let [service, target] = self.labels;
        let labels = [service, target, ("state", state)];
        counter!("wingbeat_breaker_changes_total", &labels).increment(1);
    }

    /// An attempt at a call came to this, after so long.
    pub(crate) fn called<T>(&self, answer: Option<&Result<T>>, time: Duration) {
        let [answered, failed, timed_out] = self.handles();
        let histogram = match answer {
            Some(Ok(_)) => answered,
            Some(Err(_)) => failed,
            None => timed_out,
        };
        histogram.record(time.as_secs_f64());
    }
}

/// A cached read's.
#[derive(Clone)]
pub(crate) struct CachedMeter {
    pub(crate) hit: Counter,
    pub(crate) miss: Counter,
    pub(crate) away: Counter,
}

impl CachedMeter {
    pub(crate) fn new(prefix: &'static str) -> Self {
        let read = |outcome| {
            let labels = [
                ("cache", prefix.trim_end_matches(':')),
                ("outcome", outcome),
            ];
            counter!("wingbeat_cache_reads_total", &labels)
        };
        Self {
            hit: read("hit"),
            miss: read("miss"),
            away: read("away"),
        }
    }
}
