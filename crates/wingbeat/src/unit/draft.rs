use std::any::Any;
use std::time::Duration;

use wingbeat_core::statement::{OpenTransaction, Statement};
use wingbeat_core::unit::{Append, Read, RowWrite, Write};
use wingbeat_core::{CorrelationId, Key, Name};

use super::records::TimerRecord;
use crate::effects::Effects;
use crate::recording::{Failed, Tape};

/// The reads and effects that one attempt has recorded so far.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) correlation: Option<CorrelationId>,
    pub(super) reads: Vec<Read>,
    /// See [`Unit::seen`](wingbeat_core::Unit::seen).
    pub(super) seen: Option<u64>,
    /// Decoded and changed state by key, so that two extractors see each other's changes.
    pub(super) states: Vec<(Key, Box<dyn Any + Send>)>,
    pub(super) writes: Vec<Write>,
    /// The states to which sagas move, for the journal.
    pub(super) moves: Vec<(Key, &'static str)>,
    pub(super) appends: Vec<Append>,
    pub(super) rows: Vec<RowWrite>,
    pub(super) effects: Effects,
    pub(super) timers: Vec<(Key, Duration, TimerRecord)>,
    pub(super) counts: Vec<(Name, i64)>,
    pub(super) statements: Vec<Statement>,
    pub(super) transaction: Option<OpenTransaction>,
    /// The recording of the attempt, if its service records.
    pub(super) taped: Option<Box<Taped>>,
}

/// The recording of an attempt.
pub(super) struct Taped {
    pub(super) tape: Tape,
    /// The error of an attempt that ends as a dead letter.
    pub(super) failed: Option<Failed>,
}

/// The contents of a draft at some moment, apart from its reads.
pub(crate) struct Mark {
    writes: Vec<Write>,
    counts: Vec<(Name, i64)>,
}

impl Draft {
    pub(super) fn mark(&self) -> Mark {
        Mark {
            writes: self.writes.clone(),
            counts: self.counts.clone(),
        }
    }

    /// Removes everything that was recorded since the mark, except the reads.
    pub(super) fn rewind(&mut self, mark: Mark) {
        let Mark { writes, counts } = mark;
        let made = std::mem::take(self);
        *self = Self {
            correlation: made.correlation,
            reads: made.reads,
            seen: made.seen,
            taped: made.taped,
            writes,
            counts,
            ..Self::default()
        };
    }
}
