//! The unit of work: all that one attempt read and asked for, as plain data.
//!
//! A store commits a unit completely or not at all. It carries the version of everything it read,
//! absences included (version 0), and is refused as stale when one of them has changed. It is never
//! run again after an unknown commit: the same unit, with the same [`UnitId`], is submitted again.

use bytes::Bytes;

use crate::statement::{Companion, Statement, Unmet};
use crate::{CorrelationId, Envelope, MessageId, Name, Tag, Timestamp, UnitId};

/// Names one record among a service's data.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The table: an aggregate type, a saga type, claims, timers, …
    pub table: Name,
    /// The record in it. Canonical UUIDs of version 7 are stored compactly and in order of time.
    pub id: String,
}

impl Key {
    /// A key.
    pub fn new(table: Name, id: impl Into<String>) -> Self {
        Self {
            table,
            id: id.into(),
        }
    }
}

/// A unit of work of one service.
#[derive(Clone, Debug)]
pub struct Unit {
    /// Identifies this unit over resubmissions.
    pub id: UnitId,
    /// Whose data it touches; it can reach no other.
    pub service: Name,
    /// When it was made.
    pub at: Timestamp,
    /// The delivery that this unit settles, if a message caused it.
    pub settles: Option<Settled>,
    /// What was read, with the versions seen; 0 is "absent".
    pub reads: Vec<Read>,
    /// How many refusals its process had seen when it first read. For the process; stores ignore it.
    pub seen: u64,
    /// Records to put or remove. A key is written at most once a unit.
    pub writes: Vec<Write>,
    /// Events to append to the histories of aggregates.
    pub appends: Vec<Append>,
    /// Rows of views to put or remove.
    pub rows: Vec<RowWrite>,
    /// Messages to send: queued by a store that is its own broker, else kept in the outbox.
    pub messages: Vec<Envelope>,
    /// What this unit did, for timelines: one entry, if it did anything.
    pub journal: Option<Journal>,
    /// Counters to add to.
    pub counts: Vec<(Name, i64)>,
    /// SQL on tables of the service's own, in order. A store without SQL refuses the unit.
    pub statements: Vec<Statement>,
    /// The open transaction to commit all of this in, if the handler began one. Other stores refuse the unit.
    pub companion: Option<Companion>,
}

impl Unit {
    /// A unit that does nothing yet.
    #[must_use]
    pub fn new(id: UnitId, service: Name, at: Timestamp) -> Self {
        Self {
            id,
            service,
            at,
            settles: None,
            reads: Vec::new(),
            seen: 0,
            writes: Vec::new(),
            appends: Vec::new(),
            rows: Vec::new(),
            messages: Vec::new(),
            journal: None,
            counts: Vec::new(),
            statements: Vec::new(),
            companion: None,
        }
    }

    /// What is left when it is to take no effect: what it was based on, to be validated like a write.
    #[must_use]
    pub fn only_reads(self) -> Self {
        Self {
            settles: self.settles,
            reads: self.reads,
            seen: self.seen,
            ..Self::new(self.id, self.service, self.at)
        }
    }

    /// Whether there is nothing to validate and nothing to commit.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.reads.is_empty() && !self.has_effects()
    }

    /// Whether there is something to commit. What is counted and told goes with that, and is none by itself.
    #[must_use]
    pub fn has_effects(&self) -> bool {
        !self.writes.is_empty()
            || !self.rows.is_empty()
            || !self.messages.is_empty()
            || !self.statements.is_empty()
            || self.companion.is_some()
    }
}

/// The delivery that a unit settles: acknowledged with the commit, remembered in the inbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The queue (`<service>.<subscription>`).
    pub queue: Name,
    /// The publisher.
    pub source: String,
    /// The message.
    pub message: MessageId,
    /// The delivery to acknowledge; `None` if its queue no longer has it.
    pub tag: Option<Tag>,
}

/// A version that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// The record.
    pub key: Key,
    /// Its version; 0 if it was absent.
    pub version: u64,
}

/// A record to put or remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The record.
    pub key: Key,
    /// Its new content; `None` removes it. The version becomes the version before plus one.
    pub body: Option<Bytes>,
    /// From when [`crate::Store::claim_due`] hands it out.
    pub due_at: Option<Timestamp>,
    /// From when it may be deleted by retention.
    pub expires_at: Option<Timestamp>,
}

/// An event to append to an aggregate's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// The aggregate.
    pub key: Key,
    /// Its place in the history, from 1.
    pub sequence: u64,
    /// When it happened.
    pub at: Timestamp,
    /// The event in its stored form.
    pub body: Bytes,
}

/// A row of a view to put or remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowWrite {
    /// The view.
    pub view: Name,
    /// The row's key.
    pub key: String,
    /// The row; `None` removes it.
    pub row: Option<Row>,
}

/// A row of a view: a body, and values by which it can be found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Index column to value; ranges compare the bytes of the values.
    pub columns: Vec<(Name, String)>,
    /// The content.
    pub body: Bytes,
}

/// What a unit did, told in the story of one correlation id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    /// The story.
    pub correlation: CorrelationId,
    /// The entries: JSON.
    pub body: Bytes,
}

/// What became of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is durable, now or since an earlier submission.
    Committed,
    /// Something it read has changed: run the handler again.
    Stale,
    /// Its delivery was settled by another unit before: acknowledge and forget.
    Duplicate,
    /// A statement of it did not do what was expected of it. Nothing took effect; another attempt may succeed.
    Unmet(Unmet),
    /// The store cannot take this unit at all (a poisonous value): reject it.
    Refused,
}

impl Outcome {
    /// In a word, for logs and spans.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Stale => "stale",
            Self::Duplicate => "duplicate",
            Self::Unmet(_) => "unmet",
            Self::Refused => "refused",
        }
    }
}
