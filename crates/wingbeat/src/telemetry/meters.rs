//! Metric handles. They are looked up once, so that recording a value costs no look-up.
//!
//! `docs/metrics.md` lists the metrics. Without a recorder nothing is recorded.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{Counter, Histogram, counter, histogram};
use wingbeat_core::cache::Decision;
use wingbeat_core::transport::Refused;
use wingbeat_core::unit::Outcome;
use wingbeat_core::{Name, Result};

/// Returns the name of a subscription within its service.
pub(crate) fn short(queue: Name) -> &'static str {
    let queue = queue.as_str();
    queue.split_once('.').map_or(queue, |(_, name)| name)
}

/// The effect of a unit on the delivery that it settles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Handled.
    Handled,
    /// Parked after this error.
    Parked(&'static str),
    /// Parked without a failure.
    PutOff,
    /// Dead-lettered for this reason.
    Dead(&'static str),
}

impl Fate {
    /// Returns the error code, if the delivery failed.
    pub(crate) fn error(self) -> Option<&'static str> {
        match self {
            Self::Handled | Self::PutOff => None,
            Self::Parked(error) | Self::Dead(error) => Some(error),
        }
    }
}

/// The metrics of a subscription. The handles are looked up when it starts: a subscription that is
/// only described has no metrics.
pub(crate) struct SubscriptionMeter {
    labels: Labels,
    handles: OnceLock<Handles>,
    /// Only subscriptions with batches have it.
    batches: OnceLock<Histogram>,
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
    unsigned: Counter,
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
            unsigned: counter!("wingbeat_messaging_unsigned_commands_total", &labels),
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
            batches: OnceLock::new(),
        }
    }

    /// Looks up the handles, so that the metrics appear with the value 0.
    pub(crate) fn start(&self) {
        self.handles();
    }

    fn handles(&self) -> &Handles {
        self.handles.get_or_init(|| Handles::new(self.labels))
    }

    /// Records the number of messages of a batch that is handed to its handler.
    pub(crate) fn gathered(&self, messages: usize) {
        let batches = self
            .batches
            .get_or_init(|| histogram!("wingbeat_messaging_batch_size", &self.labels));
        batches.record(messages as f64);
    }

    /// Counts deliveries from the broker.
    pub(crate) fn consumed(&self, count: usize) {
        self.handles().consumed.increment(count as u64);
    }

    /// Records the age of a delivery at its first attempt.
    pub(crate) fn begun(&self, after: Duration) {
        self.handles().lag.record(after.as_secs_f64());
    }

    /// Records the duration of a handler.
    pub(crate) fn ran(&self, time: Duration, well: bool) {
        let handles = self.handles();
        let histogram = if well { &handles.ran } else { &handles.failed };
        histogram.record(time.as_secs_f64());
    }

    /// Counts a failed attempt that is retried at once.
    pub(crate) fn retried(&self, error: &'static str) {
        self.failure(error, "retried");
    }

    /// Counts an attempt at a command without a signature.
    pub(crate) fn unsigned(&self) {
        self.handles().unsigned.increment(1);
    }

    /// Counts a settled delivery.
    pub(crate) fn settled(&self, fate: Fate, outcome: Outcome) {
        let handles = self.handles();
        match (outcome, fate) {
            (Outcome::Duplicate, _) => handles.duplicate.increment(1),
            (Outcome::Committed, Fate::Handled) => handles.handled.increment(1),
            (Outcome::Committed, Fate::Parked(error)) => {
                handles.parked.increment(1);
                self.failure(error, "parked");
            }
            (Outcome::Committed, Fate::PutOff) => handles.parked.increment(1),
            (Outcome::Committed, Fate::Dead(reason)) => {
                handles.dead.increment(1);
                self.failure(reason, "dead");
            }
            (Outcome::Stale | Outcome::Unmet(_) | Outcome::Refused, _) => {} /* It will have
                                                                              * another one. */
        }
    }

    // The labels vary and failures are rare, so the handle is looked up each time.
    fn failure(&self, error: &'static str, then: &'static str) {
        let [service, subscription] = self.labels;
        let labels = [service, subscription, ("error_type", error), ("then", then)];
        counter!("wingbeat_messaging_failures_total", &labels).increment(1);
    }
}

/// The metrics of a committer.
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

    /// Records a commit: its units, and its duration with all resubmissions.
    pub(crate) fn committed(&self, units: usize, time: Duration) {
        self.units.record(units as f64);
        self.seconds.record(time.as_secs_f64());
    }
}

/// The metrics of a relay.
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

    /// Records a batch and the broker's replies.
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

/// The states that a circuit breaker changes to.
const BREAKER_STATES: [&str; 3] = ["closed", "half_open", "open"];

/// The metrics of an outside system.
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
            // Exposed before the first change, so that a rate over it includes that change.
            for state in BREAKER_STATES {
                let labels = [service, target, ("state", state)];
                counter!("wingbeat_breaker_changes_total", &labels).increment(0);
            }
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

    /// Records the result and the duration of an attempt at a call.
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

/// Counts a claim on an allotment by its decision; `None` stands for an error of the cache.
pub(crate) fn claim_decided(prefix: &'static str, decision: Option<&Decision>) {
    let outcome = match decision {
        Some(Decision::Granted) => "granted",
        Some(Decision::Repeated(_)) => "repeated",
        Some(Decision::SoldOut) => "sold_out",
        Some(Decision::LimitReached) => "limit_reached",
        Some(Decision::NotOpen) => "not_open",
        Some(Decision::LogFull) => "log_full",
        Some(Decision::Unknown) => "unknown",
        None => "unavailable",
    };
    let labels = [
        ("allotment", prefix.trim_end_matches(':')),
        ("outcome", outcome),
    ];
    counter!("wingbeat_claims_total", &labels).increment(1);
}

/// Counts a use of the store of large bodies by its outcome.
pub(crate) fn body_used(outcome: &'static str) {
    counter!("wingbeat_bodies_total", "outcome" => outcome).increment(1);
}

/// The metrics of a cached read.
#[derive(Clone)]
pub(crate) struct CachedMeter {
    pub(crate) hit: Counter,
    pub(crate) miss: Counter,
    pub(crate) unavailable: Counter,
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
            unavailable: read("unavailable"),
        }
    }
}
