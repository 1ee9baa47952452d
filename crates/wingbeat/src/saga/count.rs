//! How many instances of a saga are in which state: counters of the store, kept by the units that move them.

use wingbeat_core::{Name, Result};

use crate::unit::{Scope, counter};

/// Before the saga's name and the state in a counter's name.
const COUNTER: &str = "saga";

/// Counts an instance where it is now. The counters are part of the unit that moves it, so they are right
/// after a crash and with several replicas.
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

/// The saga and the state of which a service's counter tells how many instances there are.
#[must_use]
pub fn counted(counter: Name) -> Option<(&'static str, &'static str)> {
    let (kind, of) = counter.as_str().split_once(':')?;
    (kind == COUNTER).then(|| of.split_once(':')).flatten()
}
