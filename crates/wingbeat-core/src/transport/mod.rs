//! The port for what travels between services.

#[cfg(feature = "conformance")]
pub mod conformance;

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Envelope, Kind, Name, Result};

/// Marks one delivery of one consumer, to be acknowledged; unique within the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(pub u64);

/// A message handed to a subscription, at least once.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// For the acknowledgement.
    pub tag: Tag,
    /// `true` when it may have been handed out before.
    pub redelivered: bool,
    /// The message, or the raw bytes and why they are not one.
    pub envelope: std::result::Result<Envelope, Undecodable>,
    /// Only where [`Transport::given_up`] is consumed.
    pub given_up: Option<GivenUp>,
}

/// What the broker did on its own with a message that came back too often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GivenUp {
    /// The queue it was in.
    pub queue: String,
    /// The broker's word for it.
    pub why: String,
}

/// Something in the queue that is not a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecodable {
    /// An id that stays the same over redeliveries.
    pub id: crate::MessageId,
    /// The wire type it claims to have; empty when it claims none.
    pub kind: String,
    /// What is wrong, and what came beside the body.
    pub broken: Broken,
    /// What came.
    pub raw: bytes::Bytes,
}

/// Why a delivery is no message, however often it is tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// In a word.
    pub fault: Fault,
    /// In words.
    pub why: String,
    /// Headers and properties as they came, as texts.
    pub headers: BTreeMap<String, String>,
}

/// What is wrong with a delivery that is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Attributes are missing, or cannot be read.
    Undecodable,
    /// Larger than any message may be.
    TooLarge,
}

impl Fault {
    /// The reason that its dead letter gives.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Undecodable => "undecodable",
            Self::TooLarge => "too_large",
        }
    }
}

/// All queues and what is bound to them. No process publishes before all of it exists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// Queue (`<service>.<subscription>`) to what it is.
    pub queues: BTreeMap<Name, Queue>,
}

/// What comes into a queue, and how it is handed out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// The message types bound to it.
    pub bindings: Vec<Binding>,
    /// Handed out in the order in which it came in, to one consumer at a time. When that one is gone, the next
    /// one begins with what was not acknowledged.
    pub ordered: bool,
}

impl From<Vec<Binding>> for Queue {
    /// In no promised order.
    fn from(bindings: Vec<Binding>) -> Self {
        Self {
            bindings,
            ordered: false,
        }
    }
}

/// One message type bound to a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The wire type.
    pub message: &'static str,
    /// Event or command.
    pub kind: Kind,
}

/// Why a message was not taken by the broker. It stays in the outbox. A store that is its own broker keeps
/// an unroutable command of a unit by itself until a queue takes it: the unit is committed all the same.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Refused {
    /// No queue is bound to this type.
    #[error("no queue is bound to this message type")]
    Unroutable,
    /// No broker will ever take it.
    #[error("it cannot be published: {0}")]
    Impossible(String),
    /// The broker said no, or nothing in time: it may or may not have the message.
    #[error("the broker did not confirm: {0}")]
    Unconfirmed(String),
}

/// Carries messages. Delivers at least once, never before `declare`, and in no promised order but from queues
/// that are [`Queue::ordered`].
pub trait Transport: Send + Sync + 'static {
    /// Makes all queues and bindings exist; safe to repeat.
    fn declare(&self, topology: &Topology) -> BoxFuture<'_, Result<()>>;
    /// Publishes, and waits until each message is confirmed durable or refused; answers in order.
    fn publish(
        &self,
        messages: Vec<Envelope>,
    ) -> BoxFuture<'_, Vec<std::result::Result<(), Refused>>>;
    /// Starts consuming `queue`, with at most `prefetch` deliveries unacknowledged.
    fn consume(&self, queue: Name, prefetch: usize) -> BoxFuture<'_, Result<Box<dyn Consumer>>>;
    /// Starts consuming what the broker itself took out of queues of `service`, since it was handed out too often
    /// without an answer; `None` if it never does that.
    fn given_up(&self, service: Name) -> BoxFuture<'_, Result<Option<Box<dyn Consumer>>>> {
        let _ = service;
        Box::pin(async { Ok(None) })
    }
    /// How many messages wait in `queue`, and how many this process was handed from it and has not yet
    /// acknowledged. What other processes hold is theirs to count: brokers of AMQP 0-9-1 do not tell.
    fn depth(&self, queue: Name) -> BoxFuture<'_, Result<u64>>;
    /// What carries them, as spans call it (OpenTelemetry's `messaging.system`).
    fn system(&self) -> &'static str {
        "wingbeat"
    }
}

/// One consumer of one queue. Dropped, it closes; what it had unacknowledged comes again.
pub trait Consumer: Send {
    /// Waits for at least one delivery, then returns all that are at hand. May be dropped while it waits:
    /// no delivery is lost by that.
    ///
    /// # Errors
    ///
    /// The consumer is lost: drop it and consume anew.
    fn next(&mut self) -> BoxFuture<'_, Result<Vec<Delivery>>>;
    /// A handle to acknowledge with, from anywhere.
    fn settler(&self) -> std::sync::Arc<dyn Settler>;
}

/// Acknowledges deliveries of one consumer.
pub trait Settler: Send + Sync {
    /// Done with: never to come again. On a store that is its own broker the rows went with the commit,
    /// and this only frees their places in the window.
    fn acknowledge(&self, tags: &[Tag]);
    /// Not handled: let it come again.
    fn give_back(&self, tags: &[Tag]);
}
