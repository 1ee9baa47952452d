//! Subscriptions, and the messages that they handle.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use wingbeat_core::transport::{Binding, Broken, Queue};
use wingbeat_core::{Envelope, Error, Key, Kind, LogLimit, MessageId, Name, Tag, Timestamp};

use crate::failed::{Failures, PARKED, Retried, UNKNOWN_SOURCE, parked_key};
use crate::handler::{Run, RunBatch};
use crate::limit::Share;
use crate::partition::partition;
use crate::policy::{Policy, Rate};
use crate::recording::Tape;
use crate::retry::Taken;
use crate::trust::FORGED;
use crate::unit::original_id;

/// A queue, its bindings and its handler.
#[derive(Clone)]
pub(crate) struct Subscription {
    pub(crate) queue: Name,
    pub(crate) bindings: Vec<Binding>,
    pub(crate) policy: Policy,
    /// The wire types that the handler takes, timers included.
    pub(crate) takes: Vec<&'static str>,
    pub(crate) run: Run,
    /// The handler for several messages at once, if it takes batches.
    pub(crate) batch: Option<RunBatch>,
    /// The queue whose past this queue receives.
    pub(crate) replays: Option<Name>,
    /// The queue of the subscription that this queue is a partition of.
    pub(crate) partition_of: Option<Name>,
}

impl Subscription {
    /// A subscription to one message type, with the default policy.
    pub(crate) fn of(queue: Name, message: &'static str, kind: Kind, run: Run) -> Self {
        Self {
            queue,
            bindings: vec![Binding { message, kind }],
            policy: Policy::default(),
            takes: vec![message],
            run,
            batch: None,
            replays: None,
            partition_of: None,
        }
    }

    /// Returns the queue under which deliveries are settled. A replayed message is settled as if
    /// its subscription had received it when it was published, and one of a partition as if it had
    /// not been moved.
    pub(super) fn inbox(&self) -> Name {
        self.replays.unwrap_or(self.owner())
    }

    /// Returns whether its messages contain personal data.
    #[cfg_attr(
        not(feature = "personal"),
        allow(clippy::unused_self, reason = "no message does")
    )]
    pub(crate) fn is_personal(&self) -> bool {
        #[cfg(feature = "personal")]
        return self.policy.personal;
        #[cfg(not(feature = "personal"))]
        false
    }

    /// Returns the queue under which failed deliveries are stored and counted: a message of a
    /// partition belongs to the subscription as a whole.
    pub(crate) fn owner(&self) -> Name {
        self.partition_of.unwrap_or(self.queue)
    }

    /// Returns the message id under which a delivery is settled; see [`inbox`](Self::inbox).
    pub(super) fn settled_id(&self, envelope: &Envelope) -> MessageId {
        if self.replays.is_some() {
            return original_id(envelope);
        }
        envelope.id
    }

    /// Returns the largest number of unacknowledged deliveries: enough for a batch that is handled,
    /// and one that gathers.
    pub(super) fn prefetch(&self, rate: Option<Rate>) -> usize {
        if self.batch.is_none() {
            return self.policy.prefetch(rate);
        }
        self.policy.prefetch.max(2 * self.policy.up_to)
    }

    /// Returns whether a key stays busy until the unit of its message is durable: a stale unit then
    /// runs again before the next message.
    pub(super) fn waits_for_commit(&self) -> bool {
        self.policy.keeps_order() || self.batch.is_some()
    }

    /// Returns the part of the topology: the queue, and its partitions.
    pub(crate) fn queues(&self) -> impl Iterator<Item = (Name, Queue)> {
        let queue = Queue {
            bindings: self.bindings.clone(),
            ordered: self.policy.keeps_order(),
        };
        let partition_queue = Queue {
            bindings: Vec::new(),
            ordered: true,
        };
        let count = self.policy.partitions.unwrap_or(0);
        let partitions = (0..count.min(Policy::PARTITIONS_MAX))
            .map(move |number| (partition(self.queue, number), partition_queue.clone()));
        std::iter::once((self.queue, queue)).chain(partitions)
    }

    /// Returns the subscriptions of `count` partitions.
    pub(crate) fn partitions(&self, count: u32) -> impl Iterator<Item = Self> {
        (0..count).map(move |number| Self {
            queue: partition(self.queue, number),
            partition_of: Some(self.queue),
            policy: Policy {
                ordered: true,
                ..self.policy.clone()
            },
            ..self.clone()
        })
    }

    /// Returns whether the handler takes a type from the queue. Timers come from the store only.
    pub(super) fn takes_from_queue(&self, kind: &str) -> bool {
        self.bindings.iter().any(|binding| binding.message == kind)
    }

    /// Returns whether a type is a command, in this version or in another one. The subscription
    /// decides, not the message, which may have reached the queue by another way than the exchange
    /// of commands.
    pub(super) fn is_command(&self, kind: &str) -> bool {
        let mut bindings = self.bindings.iter();
        bindings.any(|it| it.kind == Kind::Command && is_version_of(it.message, kind))
    }

    /// Returns the code for a type that the handler does not take.
    pub(super) fn refusal_of(&self, kind: &str) -> &'static str {
        // A timer that comes from the queue has a known type and is refused all the same.
        let known = |taken: &&&str| **taken != kind && is_version_of(taken, kind);
        match self.takes.iter().find(known) {
            Some(_) => UNKNOWN_VERSION,
            None => "unknown_type",
        }
    }

    /// Returns whether a type is a newer version of one that the handler takes from its queue. No
    /// later release will know an older one, and a message is no timer.
    pub(super) fn is_newer(&self, kind: &str) -> bool {
        let Some((_, version)) = parts(kind) else {
            return false;
        };
        let taken = self.bindings.iter().map(|binding| binding.message);
        let known = taken.filter(|taken| is_version_of(taken, kind));
        let known = known.filter_map(|taken| parts(taken)?.1);
        known.max().is_some_and(|known| version > Some(known))
    }
}

/// Returns whether two wire types are versions of one message.
fn is_version_of(one: &str, other: &str) -> bool {
    let name = |kind| parts(kind).map(|(name, _)| name);
    one == other || name(one).is_some() && name(one) == name(other)
}

/// Splits a wire type into its name and its version, if that is a number.
fn parts(kind: &str) -> Option<(&str, Option<u32>)> {
    let (name, version) = kind.rsplit_once(".v")?;
    Some((name, version.parse().ok()))
}

/// The code for a message of a version that the handler does not take.
pub(super) const UNKNOWN_VERSION: &str = "unknown_version";

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

/// Deliveries that are handled together again, because their batch has failed.
#[derive(Debug)]
pub(crate) struct Part {
    /// The number of deliveries. One delivery is handled like that of any other handler.
    pub(super) size: usize,
    /// The attempts so far at all batches that they were in.
    pub(super) quick: u32,
    /// The steps that were taken by rules of the retry policy.
    pub(super) taken: Taken,
    /// The pause before the next attempt.
    pub(super) pause: Duration,
}

impl Part {
    /// Makes a part that was not attempted before.
    pub(super) fn new(size: usize) -> Self {
        Self {
            size,
            quick: 0,
            taken: Taken::default(),
            pause: Duration::ZERO,
        }
    }
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
    /// Set once the signature of a command was verified, or found to be unnecessary. Deliveries
    /// that were parked since are not verified again, with keys that may have been replaced.
    pub(crate) admitted: bool,
    /// Set if it was a delivery that was dead-lettered as forged.
    pub(crate) suspect: bool,
    /// Set if a suspect command turned out to be a copy of one that was handled.
    pub(crate) known: bool,
    /// `Some(true)` if it is a timer, `Some(false)` if a queue delivered it, also after it was
    /// parked; `None` if an older release parked it.
    pub(crate) timer: Option<bool>,
    /// Set if it is a dead letter that is handled again.
    pub(crate) retried: Option<Retried>,
    /// Set if it is the mark of a router, which is settled after all messages before it.
    pub(crate) is_mark: bool,
    /// The tenant of the message, if the subscription limits each of them.
    pub(crate) tenant: Option<Arc<str>>,
    /// The right to handle it, from the time at which it can start.
    pub(crate) share: Option<Share>,
    /// Set if the work is put off because there is too much of its tenant.
    pub(crate) put_off: Option<Duration>,
    /// Set if no attempt was made before.
    pub(crate) fresh: bool,
    /// The time from which another replica may take the work; `None` if the queue delivered it.
    pub(crate) leased_until: Option<Duration>,
    /// Attempts since the work was last parked.
    pub(crate) quick: u32,
    /// Set if the last unit was not committed because it had read stale data.
    pub(crate) stale: bool,
    /// The retryable error because of which the last unit was not committed.
    pub(crate) failed: Option<Error>,
    /// The number of times that the store has refused the dead letter of this work.
    pub(crate) refused: u32,
    /// The time at which the message was sent, for metrics. A time that cannot be true is replaced
    /// by the time of receipt.
    pub(crate) sent: Timestamp,
    /// The time at which this process received it.
    pub(crate) arrived: Duration,
    /// The batch that it was in, or a part of that batch, if it has failed.
    pub(crate) part: Option<Arc<Part>>,
    /// The recording of the last attempt, which failed.
    pub(crate) tape: std::sync::Mutex<Option<Tape>>,
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
            admitted: false,
            suspect: false,
            known: false,
            timer: None,
            retried: None,
            is_mark: false,
            tenant: None,
            share: None,
            put_off: None,
            fresh: true,
            leased_until: None,
            quick: 0,
            stale: false,
            failed: None,
            refused: 0,
            arrived: Duration::ZERO,
            part: None,
            tape: std::sync::Mutex::default(),
        }
    }

    /// Keeps the recording of an attempt that failed.
    pub(super) fn keep_tape(&self, tape: Option<Tape>) {
        *self.tape.lock().unwrap_or_else(PoisonError::into_inner) = tape;
    }

    /// Returns the recording of the last attempt, for the dead letter.
    pub(super) fn last_tape(&self) -> Option<Tape> {
        self.tape
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Returns whether the work is handled alone: it has failed alone, comes from the store, or
    /// becomes a dead letter without an attempt.
    pub(super) fn is_alone(&self) -> bool {
        self.part.as_ref().is_some_and(|part| part.size == 1)
            || self.hopeless.is_some()
            || self.is_mark
            || self.failed.is_some()
            || self.failures.attempts > 0
            || !matches!(self.origin, Origin::Queue(_))
    }

    /// Returns whether the work can be parked without effect on its story: a timer must stay one,
    /// so that it can be cancelled.
    pub(super) fn can_be_parked(&self) -> bool {
        match &self.origin {
            Origin::Queue(_) => true,
            Origin::Due { key, .. } => key.table == PARKED,
        }
    }

    /// Returns whether the work waits for others to form a batch.
    pub(super) fn gathers(&self) -> bool {
        self.part.is_none() && !self.is_alone()
    }

    /// Returns whether two pieces of work may be in one batch.
    pub(super) fn joins(&self, other: &Self) -> bool {
        let same_part = match (&self.part, &other.part) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        };
        same_part && !self.is_alone() && !other.is_alone()
    }

    /// Returns the source under which the delivery is settled. That of a forged command is unknown:
    /// under the claimed source it would make the store ignore the real command with its id.
    pub(super) fn source(&self) -> &str {
        if self.is_forged_delivery() {
            UNKNOWN_SOURCE
        } else {
            &self.envelope.source
        }
    }

    /// Returns whether it is a delivery that turned out to be forged.
    pub(super) fn is_forged_delivery(&self) -> bool {
        let forged = matches!(self.hopeless, Some((FORGED, _)));
        forged && matches!(self.origin, Origin::Queue(_))
    }

    /// Returns the key of the parked delivery.
    pub(super) fn parked_key(&self, queue: Name) -> Key {
        parked_key(queue, &self.envelope, self.suspect)
    }

    /// Replaces a time of sending that lies too far back. No queue keeps a message that long, so
    /// the clock of the publisher is wrong, or the publisher chose the time.
    pub(super) fn received(&mut self, now: Timestamp) {
        if now.since(self.sent) > AGE_MAX {
            self.sent = now;
        }
    }

    /// Returns the time at which the message was published; `received` if it states one that
    /// cannot be true.
    pub(super) fn published(&self, received: Timestamp) -> Timestamp {
        let stated = self.envelope.time;
        let wrong = stated > received || received.since(stated) > AGE_MAX;
        if wrong { received } else { stated }
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
    /// Set while work that could start waits for the subscription's rate.
    pub limited: AtomicBool,
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
            limited: AtomicBool::new(false),
            failures: LogLimit::new(50, Duration::from_millis(200)),
            outages: LogLimit::new(3, Duration::from_secs(10)),
        }
    }
}

/// Takes the value out of a slot that several callbacks share.
pub(super) fn take<T>(slot: &std::sync::Mutex<Option<T>>) -> Option<T> {
    slot.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .take()
}

/// Returns the message of a panic.
pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// Makes deliveries with these keys. Their bodies are as long as their positions say.
#[cfg(test)]
pub(super) fn deliveries<const N: usize>(keys: [&str; N]) -> Vec<Work> {
    let delivery = |(at, key): (usize, &str)| {
        let envelope = Envelope {
            id: MessageId(uuid::Uuid::from_u128(at as u128)),
            source: "shop".into(),
            kind: "shop.sold.v1".into(),
            role: Kind::Event,
            key: key.into(),
            time: Timestamp::default(),
            correlation: uuid::Uuid::nil().into(),
            causation: None,
            sequence: None,
            operation: None,
            traceparent: None,
            propagation: wingbeat_core::Propagation::default(),
            dialog: None,
            signature: None,
            body: vec![0; at].into(),
        };
        let origin = Origin::Queue(Tag(at as u64));
        Work::new(envelope, origin, Failures::default())
    };
    keys.into_iter().enumerate().map(delivery).collect()
}

/// Returns the short name of a message: `order_placed` for `orders.order_placed.v1`.
pub(crate) fn short_name(message: &'static str) -> &'static str {
    let name = message.split_once('.').map_or(message, |(_, rest)| rest);
    name.rsplit_once(".v").map_or(name, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_newer_versions_of_messages_from_the_queue_wait() {
        let subscription = Subscription {
            queue: Name::new("mails.placed"),
            bindings: vec![Binding {
                message: "orders.placed.v2",
                kind: Kind::Event,
            }],
            policy: Policy::default(),
            takes: vec!["orders.placed.v2", "mails.due.v1"],
            run: Arc::new(|_, _| Box::pin(async { Ok(()) })),
            batch: None,
            replays: None,
            partition_of: None,
        };
        assert!(subscription.is_newer("orders.placed.v3"));
        for kind in [
            "orders.placed.v1",
            "orders.placed.v2",
            "orders.placed.vx",
            "orders.paid.v3",
            // A message must not become a timer.
            "mails.due.v2",
        ] {
            assert!(!subscription.is_newer(kind), "{kind}");
        }
    }
}
