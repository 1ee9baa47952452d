//! The backlog of a store, for metrics and operators.

use std::time::Duration;

use crate::Name;

/// The number at which counting stops, so that reading a backlog stays cheap: it means "this many,
/// or more".
pub const COUNTED_MAX: usize = 10_000;

/// Messages and records of one service that wait in a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Messages that no broker has confirmed. A store that is its own broker reports none.
    pub outbox: Waiting,
    /// Records with a due time, one entry per table.
    pub due: Vec<DueBacklog>,
}

/// A number of waiting messages or records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// The number, up to [`COUNTED_MAX`].
    pub count: u64,
    /// The time that the oldest has waited, by the clock of the store; zero if there are none.
    pub age: Duration,
}

/// The records of one table that have a due time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueBacklog {
    /// The table.
    pub table: Name,
    /// The number of all records, also those that are due later; up to [`COUNTED_MAX`].
    pub pending: u64,
    /// The records that are due, claimed or not, and the time since the first was due.
    pub overdue: Waiting,
}
