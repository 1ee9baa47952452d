//! The port for messages between services.
//!
//! A [`Transport`] takes messages from publishers, puts a copy into each queue that is bound to
//! their type, and delivers them to consumers. It delivers **at least once**: the store's inbox
//! recognizes a repeated message, so a transport delivers again whenever it is in doubt.
//!
//! # Contract
//!
//! - **Durability.** A confirmed message survives a crash of the broker until its deliveries are
//!   acknowledged, one in each bound queue.
//! - **Order.** Only queues that are [`ordered`](Queue::ordered) keep the order of publishing.
//! - **Redelivery.** A delivery that is neither acknowledged nor requeued is delivered again after
//!   its consumer is dropped or its process ends.
//! - **Independence.** A queue whose consumer is slow does not delay other queues.
//! - **Concurrency.** All methods may be called at the same time.
//! - **Cancellation.** The caller may drop any returned future. A dropped `publish` may publish its
//!   messages or not; a dropped [`Consumer::next`] loses no delivery.
//! - **Errors.** While the broker is unavailable, methods fail with an error of class
//!   [`Retry`](crate::Class::Retry) (`publish` with [`Refused::Unconfirmed`]) within their own time
//!   limit. They work again when the broker does; the adapter reconnects without help.
//!
//! The macro `transport_conformance!` (feature `conformance`) tests this contract;
//! `docs/writing-an-adapter.md` shows how.

mod operate;

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::{Envelope, Error, Kind, Name, Result};

pub use operate::{Deviation, DeviationKind, Migrated, Prune, Pruned};

/// The tag of one delivery, with which it is acknowledged. It is unique within the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub u64);

/// A message that a consumer has received.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// The tag to acknowledge or requeue the delivery with.
    pub tag: Tag,
    /// `true` if the message may have been delivered before.
    pub redelivered: bool,
    /// The message, or the bytes of something that is not a message.
    pub envelope: std::result::Result<Envelope, Undecodable>,
    /// The original queue, if the delivery comes from [`Transport::broker_dead_letters`].
    pub dead_lettered: Option<DeadLettered>,
}

/// The origin of a message that the broker itself has dead-lettered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLettered {
    /// The queue that it was removed from.
    pub queue: String,
    /// The broker's name for the reason, such as `delivery_limit`.
    pub reason: String,
}

/// A delivery that cannot be decoded into a message. The runtime dead-letters it with its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecodable {
    /// An id that is the same at each redelivery.
    pub id: crate::MessageId,
    /// The message type that the delivery claims; empty if it claims none.
    pub kind: String,
    /// The problem, and the headers of the delivery.
    pub broken: Broken,
    /// The body. An adapter may cut off a body that is too large.
    pub raw: bytes::Bytes,
}

/// The reason why a delivery cannot be decoded, with its headers. Dead letters store it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// The kind of problem.
    pub fault: Fault,
    /// A description of the problem for an operator.
    pub why: String,
    /// The headers and properties of the delivery, as texts.
    pub headers: BTreeMap<String, String>,
}

/// The kinds of problems with a delivery that cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Attributes are missing or invalid.
    Undecodable,
    /// The body is larger than [`BODY_MAX`](crate::envelope::BODY_MAX).
    TooLarge,
}

impl Fault {
    /// Returns the reason that the dead letter states.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Undecodable => "undecodable",
            Self::TooLarge => "too_large",
        }
    }
}

/// All queues of a system and their bindings.
///
/// ```
/// use wingbeat_core::transport::Binding;
/// use wingbeat_core::{Kind, Name, Topology};
///
/// let placed = Binding { message: "orders.order_placed.v1", kind: Kind::Event };
/// let topology = Topology {
///     queues: [(Name::new("mail.confirmations"), vec![placed].into())].into(),
/// };
/// # assert_eq!(topology.queues.len(), 1);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// The queues by name (`<service>.<subscription>`).
    pub queues: BTreeMap<Name, Queue>,
}

/// A queue: its bindings and its order. One without bindings receives only what is
/// [forwarded](Transport::forward) to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// The message types whose messages the queue receives.
    pub bindings: Vec<Binding>,
    /// `true` if messages are delivered in the order in which they were published, to one consumer
    /// at a time. When that consumer is dropped, the next one starts with the first unacknowledged
    /// message.
    pub ordered: bool,
}

impl From<Vec<Binding>> for Queue {
    /// Creates a queue that is not ordered.
    fn from(bindings: Vec<Binding>) -> Self {
        Self {
            bindings,
            ordered: false,
        }
    }
}

/// A message type that is bound to a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The message type, such as `orders.order_placed.v1`.
    pub message: &'static str,
    /// Event or command.
    pub kind: Kind,
}

/// The reason why a message was not confirmed. The message stays in the outbox.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refused {
    /// No queue is bound to the type of this command. The relay tries again later. A store that is
    /// its own broker commits the unit, and keeps the command until a queue is bound to its type.
    #[error("no queue is bound to this message type")]
    Unroutable,
    /// No broker can ever accept the message, for example because it is too large. The relay
    /// dead-letters it.
    #[error("the message cannot be published: {0}")]
    Impossible(String),
    /// The broker rejected the message or did not confirm it in time. It may or may not have the
    /// message, and the relay publishes it again.
    #[error("the broker did not confirm: {0}")]
    Unconfirmed(String),
}

/// Messages between services; see the [module](self) for the contract of all methods.
pub trait Transport: Send + Sync + 'static {
    /// Creates all queues and bindings that are missing. It is idempotent, and several processes
    /// may run it together.
    ///
    /// Each process declares the whole topology, other services' queues included, before it
    /// publishes. Otherwise the messages for a queue that is created later would be lost. An
    /// adapter remembers the topology and declares it again after it has reconnected.
    ///
    /// A queue that exists with other properties is no error, since it concerns one service only:
    /// [`check_queues`](Self::check_queues) reports it to that service. Its messages are kept
    /// meanwhile, in the queue or in the outbox of their publishers.
    ///
    /// # Errors
    ///
    /// An error of class [`Reject`](crate::Class::Reject) if something that all services share
    /// exists with other properties, such as `topology_differs`.
    fn declare(&self, topology: &Topology) -> BoxFuture<'_, Result<()>>;

    /// Checks, after [`declare`](Self::declare), that the queues of these services have the
    /// declared properties. A process calls it with the services that it runs.
    ///
    /// A broker whose queues have no properties of their own needs no check.
    ///
    /// # Errors
    ///
    /// An error of class [`Reject`](crate::Class::Reject), such as `topology_differs`.
    fn check_queues(&self, _services: &[Name]) -> Result<()> {
        Ok(())
    }

    /// Returns how the broker differs from the topology, for an operator. It changes no queue of a
    /// subscription; the adapter may create a queue in which it remembers the others. It may be
    /// called without [`declare`](Self::declare).
    ///
    /// Only queues that a process with this namespace once declared for a service of this topology
    /// can be [`Orphaned`](DeviationKind::Orphaned), never those of others.
    fn deviations(&self, _topology: &Topology) -> BoxFuture<'_, Result<Vec<Deviation>>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Gives each queue that differs the declared properties, and keeps its messages. It may be
    /// called again after it was interrupted at any moment, and then continues.
    ///
    /// # Errors
    ///
    /// `topology_in_use` if processes consume from such a queue, or publish to one that is to be
    /// ordered.
    fn migrate(&self, _topology: &Topology) -> BoxFuture<'_, Result<Vec<Migrated>>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Deletes the [orphaned](DeviationKind::Orphaned) queues, and those of removed services. A
    /// queue with consumers is kept; one with messages as well, unless it is forced.
    fn prune(&self, _topology: &Topology, _options: &Prune) -> BoxFuture<'_, Result<Vec<Pruned>>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Checks that the broker can be used: it answers, and it accepts messages. It costs one round
    /// trip and changes nothing.
    ///
    /// Readiness probes call it about once a second, also before [`declare`](Self::declare). It
    /// reconnects if necessary.
    fn ping(&self) -> BoxFuture<'_, Result<()>>;

    /// Publishes messages, and returns one result per message in the same order: `Ok` once the
    /// message is durable in every bound queue.
    ///
    /// An event without a bound queue is confirmed and dropped; a command without one is
    /// [`Refused::Unroutable`]. A message that is published twice may be delivered twice.
    fn publish(
        &self,
        messages: Vec<Envelope>,
    ) -> BoxFuture<'_, Vec<std::result::Result<(), Refused>>>;

    /// Puts messages into one queue that has no bindings, unchanged, and returns one result per
    /// message in the same order: `Ok` once the message is durable there.
    ///
    /// The runtime moves the messages of a subscription with partitions this way. It calls the
    /// method again for a message that was not confirmed, so a message may arrive twice. A message
    /// to a queue that does not exist is [`Refused::Unroutable`], which is also what the default
    /// implementation returns.
    fn forward(
        &self,
        queue: Name,
        messages: Vec<Envelope>,
    ) -> BoxFuture<'_, Vec<std::result::Result<(), Refused>>> {
        let _ = queue;
        Box::pin(async move { vec![Err(Refused::Unroutable); messages.len()] })
    }

    /// Starts a consumer of `queue` with at most `prefetch` unacknowledged deliveries. Several
    /// consumers of a queue share its messages, unless the queue is ordered.
    fn consume(&self, queue: Name, prefetch: usize) -> BoxFuture<'_, Result<Box<dyn Consumer>>>;

    /// Starts a consumer of the messages that the broker itself has removed from queues of
    /// `service`, because processes ended again and again without acknowledging them.
    ///
    /// Returns `None` if the broker never does that, which is the default. The runtime stores these
    /// messages as dead letters of the service.
    fn broker_dead_letters(
        &self,
        service: Name,
    ) -> BoxFuture<'_, Result<Option<Box<dyn Consumer>>>> {
        let _ = service;
        Box::pin(async { Ok(None) })
    }

    /// Opens a queue of this name for replies, and starts its consumer. `publish` sends a
    /// [reply](crate::Dialog::Reply) to the queue that it names; no binding is necessary.
    ///
    /// The queue belongs to this process. It may vanish with its messages when its consumer ends,
    /// and does so soon after the process has ended. A caller whose consumer fails drops it and
    /// opens the queue again. A reply without a queue is [`Refused::Unroutable`], and never delays
    /// other messages. A store that is its own broker commits its unit and drops it.
    ///
    /// # Errors
    ///
    /// `replies_unsupported` unless the adapter implements this method.
    fn replies(&self, queue: &str, prefetch: usize) -> BoxFuture<'_, Result<Box<dyn Consumer>>> {
        let text = format!("the transport has no reply queues, such as {queue}");
        let _ = prefetch;
        Box::pin(async { Err(Error::reject("replies_unsupported", text)) })
    }

    /// Returns the number of messages that wait in `queue`, plus those that this process has
    /// received from it and not acknowledged. Deliveries of other processes do not count, since not
    /// all brokers report them.
    fn depth(&self, queue: Name) -> BoxFuture<'_, Result<u64>>;

    /// Returns the number of consumers that `queue` has in all processes; `None`, the default, if
    /// the broker does not report it. Operators look for queues that nobody consumes.
    fn consumers(&self, _queue: Name) -> BoxFuture<'_, Result<Option<u64>>> {
        Box::pin(async { Ok(None) })
    }

    /// Returns the name of the messaging system for spans (`messaging.system` of OpenTelemetry).
    fn system(&self) -> &'static str {
        "wingbeat"
    }
}

/// A consumer of one queue.
///
/// Dropping it closes it; the broker delivers its unacknowledged messages again, to another
/// consumer or a later one.
pub trait Consumer: Send {
    /// Waits until at least one delivery is available, and returns all that are.
    ///
    /// The future is cancellation-safe: if it is dropped, the next call returns the same
    /// deliveries.
    ///
    /// # Errors
    ///
    /// `consumer_lost` or another code of class [`Retry`](crate::Class::Retry) if the consumer has
    /// ended. The caller drops it and calls [`Transport::consume`] again.
    fn next(&mut self) -> BoxFuture<'_, Result<Vec<Delivery>>>;

    /// Returns a handle that acknowledges deliveries of this consumer from any task.
    fn settler(&self) -> std::sync::Arc<dyn Settler>;
}

/// A handle that acknowledges deliveries of one consumer.
///
/// Both methods return at once and report no error: if an acknowledgement is lost, the message is
/// delivered again. They ignore unknown tags and tags of an earlier consumer.
pub trait Settler: Send + Sync {
    /// Acknowledges deliveries: the broker deletes them. In a store that is its own broker, the
    /// commit of their units has deleted them already, and this only frees their places in the
    /// prefetch window.
    fn acknowledge(&self, tags: &[Tag]);
    /// Returns deliveries to the queue, to be delivered again at once.
    fn requeue(&self, tags: &[Tag]);
}
