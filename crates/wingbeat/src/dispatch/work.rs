//! Subscriptions, and the messages that they handle.

use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use bytes::Bytes;
use wingbeat_core::transport::{Binding, Broken, Queue};
use wingbeat_core::{Envelope, Error, Key, LogLimit, Name, Tag, Timestamp};

use crate::Policy;
use crate::failed::Failures;
use crate::handler::Run;

/// A queue, its bindings and its handler.
#[derive(Clone)]
pub(crate) struct Subscription {
    pub(crate) queue: Name,
    pub(crate) bindings: Vec<Binding>,
    pub(crate) policy: Policy,
    /// The wire types that the handler takes, timers included.
    pub(crate) takes: Vec<&'static str>,
    pub(crate) run: Run,
}

impl Subscription {
    /// Returns the queue's part of the topology.
    pub(crate) fn queue(&self) -> (Name, Queue) {
        let queue = Queue {
            bindings: self.bindings.clone(),
            ordered: self.policy.ordered,
        };
        (self.queue, queue)
    }

    /// Returns the code for a type that the handler does not take.
    pub(super) fn refusal_of(&self, kind: &str) -> &'static str {
        let name = |kind: &str| kind.rsplit_once(".v").map(|(name, _)| name.to_owned());
        let known = |taken: &&&str| name(taken).is_some() && name(taken) == name(kind);
        match self.takes.iter().find(known) {
            Some(_) => "unknown_version",
            None => "unknown_type",
        }
    }
}

/// The largest age of a message that metrics report.
const AGE_MAX: Duration = Duration::from_secs(60 * 24 * 3600);

/// The origin of a piece of work, which decides how it is settled.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    Queue(Tag),
    /// A due record (timer, parked delivery) as it was claimed.
    Due {
        key: Key,
        body: Bytes,
    },
}

/// One message to be handled.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) envelope: Envelope,
    pub(crate) origin: Origin,
    pub(crate) failures: Failures,
    /// The reason why the delivery cannot be decoded, if it cannot.
    pub(crate) broken: Option<Broken>,
    /// The reason (code, message) why the work becomes a dead letter without another attempt.
    pub(crate) hopeless: Option<(&'static str, String)>,
    /// Set if no attempt was made before.
    pub(crate) fresh: bool,
    /// Attempts since the work was last parked.
    pub(crate) quick: u32,
    /// The retryable error because of which the last unit was not committed.
    pub(crate) failed: Option<Error>,
    /// The number of times that the store has refused the dead letter of this work.
    pub(crate) refused: u32,
    /// The time at which the message was sent, for metrics. A time that cannot be true is replaced
    /// by the time of receipt.
    pub(crate) sent: Timestamp,
}

impl Work {
    /// Makes work for a first attempt.
    pub(crate) fn new(envelope: Envelope, origin: Origin, failures: Failures) -> Self {
        Self {
            sent: envelope.time,
            envelope,
            origin,
            failures,
            broken: None,
            hopeless: None,
            fresh: true,
            quick: 0,
            failed: None,
            refused: 0,
        }
    }

    /// Replaces a time of sending that lies too far back. No queue keeps a message that long, so
    /// the clock of the publisher is wrong, or the publisher chose the time.
    pub(super) fn received(&mut self, now: Timestamp) {
        if now.since(self.sent) > AGE_MAX {
            self.sent = now;
        }
    }

    /// Marks the work as started, for another attempt.
    pub(super) fn again(mut self) -> Self {
        self.fresh = false;
        self
    }
}

/// Live figures of a subscription in this process. The store keeps the durable counters.
#[derive(Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Deliveries that are being handled.
    pub in_flight: AtomicU64,
    /// The time at which the oldest of them was sent, in microseconds since the epoch; 0 if none is
    /// in flight.
    pub oldest: AtomicI64,
    /// Failed attempts that were followed by another one.
    pub retried: AtomicU64,
    /// Limits the log lines about messages that fail.
    pub(crate) failures: LogLimit,
    /// Limits the log lines about a store or a broker that fails.
    pub(crate) outages: LogLimit,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            in_flight: AtomicU64::new(0),
            oldest: AtomicI64::new(0),
            retried: AtomicU64::new(0),
            failures: LogLimit::new(50, Duration::from_millis(200)),
            outages: LogLimit::new(3, Duration::from_secs(10)),
        }
    }
}
