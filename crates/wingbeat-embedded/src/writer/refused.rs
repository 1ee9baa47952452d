//! Units that the store has refused while it retries their job.

use std::cell::RefCell;

use wingbeat_core::unit::Outcome;
use wingbeat_core::{HashMap, HashSet, UnitId};

use crate::id::RecordKey;

/// Units that the store has refused, and the records they would have written.
#[derive(Default)]
pub(super) struct RefusedUnits {
    /// Units whose statements ended the transaction: a timeout interrupted them, or a conflict
    /// rolled everything back. The next attempt leaves them out.
    outcomes: RefCell<HashMap<UnitId, Outcome>>,
    /// Records that refused units of the same job would have written. Units that read them are
    /// stale.
    writes: RefCell<HashSet<RecordKey>>,
}

impl RefusedUnits {
    /// Returns the number of units to leave out.
    pub(super) fn count(&self) -> usize {
        self.outcomes.borrow().len()
    }

    /// Leaves a unit out of the next attempts.
    pub(super) fn insert(&self, unit: UnitId, outcome: Outcome) {
        self.outcomes.borrow_mut().insert(unit, outcome);
    }

    /// Returns the outcome of a unit that is left out.
    pub(super) fn outcome(&self, unit: UnitId) -> Option<Outcome> {
        self.outcomes.borrow().get(&unit).copied()
    }

    /// Adds records that a refused unit would have written.
    pub(super) fn add_writes(&self, keys: impl Iterator<Item = RecordKey>) {
        self.writes.borrow_mut().extend(keys);
    }

    /// Returns the records that refused units would have written.
    pub(super) fn writes(&self) -> HashSet<RecordKey> {
        self.writes.borrow().clone()
    }
}
