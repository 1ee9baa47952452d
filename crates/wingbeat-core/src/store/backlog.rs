//! What waits in a store, for those who watch it.

use std::time::Duration;

use crate::Name;

/// Rows are counted up to here and no further, so that looking stays cheap however much has gathered:
/// this number means "so many, or more".
pub const COUNTED_MAX: usize = 10_000;

/// What waits in one service's part of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Messages that no broker has confirmed; none in a store that is its own broker.
    pub outbox: Waiting,
    /// Records with a due time, by table.
    pub due: Vec<DueBacklog>,
}

/// Some that wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// How many, up to [`COUNTED_MAX`].
    pub count: u64,
    /// How long the oldest has waited, by the store's clock.
    pub age: Duration,
}

/// Records of a table that have a due time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DueBacklog {
    /// The table.
    pub table: Name,
    /// All of them, also those that are due later; up to [`COUNTED_MAX`].
    pub pending: u64,
    /// Those that are due: how many, and how long the oldest has been due. Whoever has claimed one
    /// has not settled it yet, so it counts.
    pub overdue: Waiting,
}
