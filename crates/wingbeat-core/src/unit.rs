//! The unit of work: everything that one attempt read and recorded, as plain data.
//!
//! A store commits a [`Unit`] completely or not at all, and reports an [`Outcome`]. The unit
//! carries the version of each record that the attempt read; version 0 stands for an absent record.
//! If one of these versions has changed, the store refuses the unit as [`Outcome::Stale`], and the
//! handler runs again.
//!
//! After a commit whose outcome is unknown (the connection was lost), the runtime submits the same
//! unit again, with the same [`UnitId`]. The store recognizes the id and applies the unit once. The
//! handler does not run again.

use bytes::Bytes;

use crate::statement::{OpenTransaction, Statement, Unmet};
use crate::{CorrelationId, Envelope, MessageId, Name, Tag, Timestamp, UnitId};

/// The key of a record: a table and an id, unique within a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The table, such as an aggregate type, a saga type, claims or timers.
    pub table: Name,
    /// The id of the record. Stores may keep canonical UUIDs in a compact form.
    pub id: String,
}

impl Key {
    /// Creates a key.
    pub fn new(table: Name, id: impl Into<String>) -> Self {
        Self {
            table,
            id: id.into(),
        }
    }
}

/// A unit of work of one service.
///
/// ```
/// use wingbeat_core::ids::uuid_v7;
/// use wingbeat_core::unit::{Read, Write};
/// use wingbeat_core::{Key, Name, Timestamp, Unit};
///
/// let now = Timestamp::from_millis(1_700_000_000_000);
/// let key = Key::new(Name::new("stock"), "egg");
/// let reserve = Unit {
///     reads: vec![Read { key: key.clone(), version: 3 }], // otherwise the unit is stale
///     writes: vec![Write {
///         key,
///         body: Some("{\"free\":11}".into()), // becomes version 4
///         due_at: None,
///         expires_at: None,
///     }],
///     ..Unit::new(uuid_v7(now, 7).into(), Name::new("inventory"), now)
/// };
/// assert!(reserve.has_effects());
/// ```
#[derive(Clone, Debug)]
pub struct Unit {
    /// The id, the same at each submission.
    pub id: UnitId,
    /// The service whose data the unit reads and writes. It reaches no other data.
    pub service: Name,
    /// The creation time, by the clock of the process.
    pub at: Timestamp,
    /// The deliveries that this unit settles: one for most handlers, several for a batch, none if
    /// no delivery caused the unit. No two are the same.
    pub settles: Vec<Settled>,
    /// The records that were read, with their versions. The store validates them all.
    pub reads: Vec<Read>,
    /// The number of refused units that the process knew of at the first read. Only the runtime
    /// uses it; stores ignore it.
    pub seen: u64,
    /// Records to put or remove; at most one write per key.
    pub writes: Vec<Write>,
    /// Events to append to the histories of aggregates, in order.
    pub appends: Vec<Append>,
    /// Rows of views to put or remove.
    pub rows: Vec<RowWrite>,
    /// Messages to send. A store that is its own broker puts them into queues; other stores put
    /// them into the outbox.
    pub messages: Vec<Envelope>,
    /// The journal entry of this unit, for timelines.
    pub journal: Option<Journal>,
    /// Counters and the amounts to add to them; an amount may be negative.
    pub counts: Vec<(Name, i64)>,
    /// SQL on the service's own tables, in order. A store without SQL refuses a unit that has any.
    pub statements: Vec<Statement>,
    /// The open transaction in which to commit the unit, if the handler began one. A store refuses
    /// a unit with a transaction of another store.
    pub transaction: Option<OpenTransaction>,
}

impl Unit {
    /// Creates a unit without any reads and effects.
    #[must_use]
    pub fn new(id: UnitId, service: Name, at: Timestamp) -> Self {
        Self {
            id,
            service,
            at,
            settles: Vec::new(),
            reads: Vec::new(),
            seen: 0,
            writes: Vec::new(),
            appends: Vec::new(),
            rows: Vec::new(),
            messages: Vec::new(),
            journal: None,
            counts: Vec::new(),
            statements: Vec::new(),
            transaction: None,
        }
    }

    /// Removes all effects and keeps the reads and the settled deliveries: the unit of a handler
    /// that decided to do nothing. The store validates its reads as those of any unit.
    #[must_use]
    pub fn only_reads(self) -> Self {
        Self {
            settles: self.settles,
            reads: self.reads,
            seen: self.seen,
            ..Self::new(self.id, self.service, self.at)
        }
    }

    /// Returns `true` if the store has nothing to validate and nothing to commit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.settles.is_empty() && self.reads.is_empty() && !self.has_effects()
    }

    /// Returns whether committing changes anything beside the inbox. Counters and journal entries
    /// alone do not count.
    #[must_use]
    pub fn has_effects(&self) -> bool {
        !self.writes.is_empty()
            || !self.appends.is_empty()
            || !self.rows.is_empty()
            || !self.messages.is_empty()
            || !self.statements.is_empty()
            || self.transaction.is_some()
    }
}

/// A delivery that a unit settles.
///
/// With the commit, the store adds queue, source and message to the inbox. A later unit that
/// settles the same three, among others or alone, is an [`Outcome::Duplicate`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The queue (`<service>.<subscription>`).
    pub queue: Name,
    /// The service that published the message.
    pub source: String,
    /// The id of the message.
    pub message: MessageId,
    /// The delivery to acknowledge; `None` if its queue no longer has it.
    pub tag: Option<Tag>,
}

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The key of the record.
    pub key: Key,
    /// The version that was read; 0 if the record was absent.
    pub version: u64,
}

/// A record to put or remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The key of the record.
    pub key: Key,
    /// The new content, or `None` to remove the record. Each write raises the version by one, from
    /// 0 for a record that never existed. A record that is put again gets a version above those
    /// that it had before its removal, as long as an attempt may run that read them: for an hour
    /// at least, or until the restart of a store that one process has open. Removing an absent
    /// record has no effect.
    pub body: Option<Bytes>,
    /// The time from which [`claim_due`](crate::Store::claim_due) returns the record.
    pub due_at: Option<Timestamp>,
    /// The time from which [`retain`](crate::Store::retain) may delete the record.
    pub expires_at: Option<Timestamp>,
}

/// An event to append to an aggregate's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// The key of the aggregate.
    pub key: Key,
    /// The position in the history, counted from 1. The unit is stale unless this is the next
    /// position.
    pub sequence: u64,
    /// The time of the event.
    pub at: Timestamp,
    /// The encoded event.
    pub body: Bytes,
}

/// A row of a view to put or remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowWrite {
    /// The view.
    pub view: Name,
    /// The key of the row.
    pub key: String,
    /// The new row, or `None` to remove the row. Removing an absent row has no effect.
    pub row: Option<Row>,
}

/// A row of a view: a body, and indexed columns by which queries find it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// The indexed columns and their values, at most one value per column. Values compare by their
    /// bytes.
    pub columns: Vec<(Name, String)>,
    /// The content.
    pub body: Bytes,
}

/// A journal entry: what a unit did on behalf of one correlation id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    /// The correlation id.
    pub correlation: CorrelationId,
    /// The entry, as JSON.
    pub body: Bytes,
}

/// The outcome of a submitted unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The unit is durable, since this submission or an earlier one.
    Committed,
    /// A record that the unit read has changed, or an append was not the next of its history. The
    /// handler runs again.
    Stale,
    /// Another unit has settled one of the deliveries before. Nothing took effect. The runtime
    /// acknowledges that delivery; a unit with further deliveries runs again without it.
    Duplicate,
    /// A condition of a statement was not met. Nothing took effect; the attempt counts as failed.
    Unmet(Unmet),
    /// The store can never apply this unit, for example because of a value that it cannot
    /// represent. The runtime dead-letters the delivery.
    Refused,
}

impl Outcome {
    /// Returns the name of the outcome, for logs and spans.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Stale => "stale",
            Self::Duplicate => "duplicate",
            Self::Unmet(_) => "unmet",
            Self::Refused => "refused",
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn empty() -> Unit {
        Unit::new(
            UnitId(Uuid::nil()),
            Name::new("orders"),
            Timestamp::default(),
        )
    }

    #[test]
    fn an_appended_event_is_an_effect() {
        let append = Append {
            key: Key::new(Name::new("order"), "a"),
            sequence: 1,
            at: Timestamp::default(),
            body: Bytes::new(),
        };
        let unit = Unit {
            appends: vec![append],
            ..empty()
        };
        assert!(unit.has_effects() && !unit.is_empty());
        assert!(unit.only_reads().is_empty());
    }

    #[test]
    fn a_unit_that_only_settles_a_delivery_is_not_empty() {
        let settles = Settled {
            queue: Name::new("orders.placed"),
            source: "shop".into(),
            message: MessageId(Uuid::nil()),
            tag: None,
        };
        let unit = Unit {
            settles: vec![settles],
            ..empty()
        };
        assert!(!unit.has_effects() && !unit.is_empty());
        assert!(empty().is_empty());
    }
}
