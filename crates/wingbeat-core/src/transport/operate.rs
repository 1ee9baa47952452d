//! The topology as operators see it: queues that differ from the wiring, and what was done to them.

use std::collections::BTreeSet;
use std::fmt;

/// A queue in which the broker and the topology differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deviation {
    /// The name of the queue on the broker.
    pub queue: String,
    /// The difference.
    pub kind: DeviationKind,
    /// The messages that wait in the queue.
    pub waiting: u64,
    /// The consumers of the queue, in all processes.
    pub consumers: u64,
}

/// The ways in which a queue differs from the topology.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviationKind {
    /// The queue does not exist.
    Missing,
    /// The queue exists with other properties; with the broker's description of the difference.
    Changed(String),
    /// A migration of the queue has begun and not ended.
    Migrating,
    /// No subscription has the queue any more.
    Orphaned,
}

impl fmt::Display for Deviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (queue, waiting, consumers) = (&self.queue, self.waiting, self.consumers);
        match &self.kind {
            DeviationKind::Missing => write!(f, "missing    {queue}"),
            DeviationKind::Changed(why) => write!(
                f,
                "changed    {queue}: {waiting} messages, {consumers} consumers: {why}"
            ),
            DeviationKind::Migrating => write!(
                f,
                "migrating  {queue}: a migration was interrupted; {waiting} messages are set aside"
            ),
            DeviationKind::Orphaned => write!(
                f,
                "orphaned   {queue}: no subscription; {waiting} messages, {consumers} consumers"
            ),
        }
    }
}

/// A queue whose messages were moved to one with the declared properties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migrated {
    /// The name of the queue on the broker.
    pub queue: String,
    /// The number of messages that were moved. Copies count as well.
    pub messages: u64,
}

/// The queues that [`prune`](crate::Transport::prune) deletes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prune {
    /// Set if it deletes also queues with messages.
    pub forced: bool,
    /// Services that were removed from the system. Several systems may share a broker, so the
    /// queues of a service without any subscription are orphaned only if the operator names it.
    pub services: BTreeSet<String>,
}

/// An orphaned queue after an attempt to delete it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pruned {
    /// The name of the queue on the broker.
    pub queue: String,
    /// The number of messages that were discarded with the queue; or the reason why it was kept.
    pub result: std::result::Result<u64, String>,
}
