//! Waiting for conditions instead of for time.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// The upper bound of every wait.
///
/// A wait ends as soon as its condition holds, so the bound costs nothing while the shop works. It is long because it
/// must not decide a test on a slow or busy machine: it only ends the test of a shop that is stuck.
pub const BOUND: Duration = Duration::from_secs(300);

/// The pause between two checks of a condition.
pub const PAUSE: Duration = Duration::from_millis(20);

/// Checks a condition until it holds and returns its value. An error says what is still missing.
///
/// # Panics
///
/// Panics with `what` and the last error if the condition does not hold within [`BOUND`].
pub async fn until<T, E: Display>(what: &str, check: impl AsyncFnMut() -> Result<T, E>) -> T {
    let checked = within_bound(check).await;
    checked.unwrap_or_else(|missing| panic!("{what}: not within {BOUND:?}: {missing}"))
}

/// Checks a condition until it holds and returns its value.
///
/// # Errors
///
/// Returns the last error if the condition does not hold within [`BOUND`].
pub async fn within_bound<T, E>(mut check: impl AsyncFnMut() -> Result<T, E>) -> Result<T, E> {
    let start = Instant::now();
    loop {
        let checked = check().await;
        if checked.is_ok() || start.elapsed() > BOUND {
            return checked;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A condition for [`until`]: `state` describes what was found instead.
///
/// # Errors
///
/// Returns `state` as text if the condition does not hold.
pub fn check(holds: bool, state: impl Display) -> Result<(), String> {
    if holds {
        Ok(())
    } else {
        Err(state.to_string())
    }
}
