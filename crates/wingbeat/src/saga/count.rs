//! Counters of saga instances by state, which the units of the sagas maintain.

use wingbeat_core::{Name, Result};

use crate::unit::{Scope, counter};

/// The prefix of the counters' names.
const COUNTER: &str = "saga";

/// Counts an instance in its new state. The counters are part of the unit that changes the state, so they
/// are exact after a crash and with several replicas.
pub(super) fn moved(scope: &Scope, saga: &str, was: Option<&str>, is: &str) -> Result<()> {
    if was == Some(is) {
        return Ok(());
    }
    let name = |state: &str| counter(COUNTER, &format!("{saga}:{state}"));
    if let Some(was) = was {
        scope.count(name(was), -1)?;
    }
    scope.count(name(is), 1)
}

/// Returns the saga and the state whose instances this counter of a service counts; `None` for other
/// counters.
#[must_use]
pub fn counted(counter: Name) -> Option<(&'static str, &'static str)> {
    let (kind, of) = counter.as_str().split_once(':')?;
    (kind == COUNTER).then(|| of.split_once(':')).flatten()
}
