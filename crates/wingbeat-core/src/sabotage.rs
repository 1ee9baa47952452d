//! Takes one mechanism away, for negative controls: what a test does not notice then, it does not guard.
//!
//! Without the feature `sabotage`, which no member enables, nothing can be taken away and the questions
//! cost nothing. `cargo xtask tidy` refuses a release binary that was built with it.

/// What can be taken away, by name.
pub const MECHANISMS: [&str; 12] = [
    ACK_AFTER_COMMIT,
    INBOX,
    OUTBOX,
    CONFIRMS,
    MANDATORY,
    READ_SET,
    OPERATION_ID,
    STOCK_CHECK,
    TOMBSTONE,
    TIMER_ONCE,
    PARKING,
    CALL_KEY,
];

/// A delivery is acknowledged after its unit is durable.
pub const ACK_AFTER_COMMIT: &str = "ack-after-commit";
/// A settled delivery is remembered.
pub const INBOX: &str = "inbox";
/// Messages are part of the unit.
pub const OUTBOX: &str = "outbox";
/// A message leaves the outbox when the broker has confirmed it.
pub const CONFIRMS: &str = "confirms";
/// A message that somebody must get is published as mandatory.
pub const MANDATORY: &str = "mandatory";
/// A unit is refused when something it read has changed.
pub const READ_SET: &str = "read-set";
/// A command sent again is the same operation.
pub const OPERATION_ID: &str = "operation-id";
/// Stock is checked and taken in one unit.
pub const STOCK_CHECK: &str = "stock-check";
/// A compensation that comes first is remembered.
pub const TOMBSTONE: &str = "tombstone";
/// A timer is removed by the unit that it causes.
pub const TIMER_ONCE: &str = "timer-once";
/// A parked delivery is a record of the unit that settles it.
pub const PARKING: &str = "parking";
/// A call keeps its idempotency key over all attempts.
pub const CALL_KEY: &str = "call-key";

#[cfg(feature = "sabotage")]
static REMOVED: std::sync::Mutex<Option<&'static str>> = std::sync::Mutex::new(None);

/// Takes a mechanism away, for the rest of the process.
///
/// # Errors
///
/// The names there are, when this is none of them.
#[cfg(feature = "sabotage")]
pub fn remove(mechanism: &str) -> Result<(), String> {
    let found = MECHANISMS.into_iter().find(|known| *known == mechanism);
    let known = found.ok_or_else(|| format!("{mechanism:?} is none of {MECHANISMS:?}"))?;
    eprintln!("WINGBEAT-SABOTAGE: without {known}");
    *REMOVED.lock().expect("nobody panics with it") = Some(known);
    Ok(())
}

/// Whether this mechanism was taken away.
#[cfg(feature = "sabotage")]
#[must_use]
pub fn lacks(mechanism: &str) -> bool {
    *REMOVED.lock().expect("nobody panics with it") == Some(mechanism)
}

/// Whether this mechanism was taken away: never.
#[cfg(not(feature = "sabotage"))]
#[must_use]
#[inline(always)]
pub const fn lacks(_mechanism: &str) -> bool {
    false
}
