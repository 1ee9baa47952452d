//! Counters of saga instances by state, which the units of the sagas maintain.

use wingbeat_core::{Name, Result};

use crate::unit::{Scope, counter};

/// The prefix of the counters' names.
const COUNTER: &str = "saga";

/// Moves an instance from the counter of its old state to that of its new state.
///
/// The counters are part of the unit that changes the state, so they are exact after a crash and
/// with several replicas.
pub(super) fn record_transition(
    scope: &Scope,
    saga: &str,
    was: Option<&str>,
    is: &str,
) -> Result<()> {
    if was == Some(is) {
        return Ok(());
    }
    let name = |state: &str| counter(COUNTER, &format!("{saga}:{state}"));
    if let Some(was) = was {
        scope.count(name(was), -1)?;
    }
    scope.count(name(is), 1)
}

/// Returns the saga and the state to which a counter of a service belongs. Returns `None` for
/// counters that do not count sagas.
#[must_use]
pub fn counted(counter: Name) -> Option<(&'static str, &'static str)> {
    let (kind, of) = counter.as_str().split_once(':')?;
    (kind == COUNTER).then(|| of.split_once(':')).flatten()
}
