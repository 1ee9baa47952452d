//! The port for what travels between services.

#[cfg(feature = "conformance")]
pub mod conformance;

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
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
}

/// Something in the queue that is not a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecodable {
    /// An id that stays the same over redeliveries.
    pub id: crate::MessageId,
    /// What is wrong.
    pub why: String,
    /// What came.
    pub raw: bytes::Bytes,
}

/// All queues and what is bound to them. No process publishes before all of it exists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// Queue (`<service>.<subscription>`) to the message types bound to it.
    pub queues: BTreeMap<Name, Vec<Binding>>,
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
    /// The broker said no, or nothing in time: it may or may not have the message.
    #[error("the broker did not confirm: {0}")]
    Unconfirmed(String),
}

/// Carries messages. Delivers at least once, in no promised order, never before `declare`.
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
    /// How many messages wait in `queue`, and how many this process was handed from it and has not yet
    /// acknowledged. What other processes hold is theirs to count: brokers of AMQP 0-9-1 do not tell.
    fn depth(&self, queue: Name) -> BoxFuture<'_, Result<u64>>;
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
