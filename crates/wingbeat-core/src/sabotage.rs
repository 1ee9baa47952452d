//! Switches that disable one mechanism, for negative controls.
//!
//! A negative control disables a mechanism and expects the test that guards it to fail. Without the
//! feature `sabotage` nothing can be disabled, and [`lacks`] is a constant. `cargo xtask tidy`
//! refuses a release binary that was built with the feature.

/// The names of all mechanisms.
pub const MECHANISMS: [&str; 20] = [
    ACK_AFTER_COMMIT,
    INBOX,
    OUTBOX,
    CONFIRMS,
    MANDATORY,
    READ_SET,
    OPERATION_ID,
    STOCK_CHECK,
    CLAIM_CHECK,
    TOMBSTONE,
    TIMER_ONCE,
    PARKING,
    CALL_KEY,
    SCHEDULE_ONCE,
    SIGNATURES,
    REPLAY_FIRST,
    MIGRATION_PROBE,
    REBUILD_LAST,
    PARTITIONS_EMPTY,
    PROJECTION_CHECKPOINT,
];

/// The runtime acknowledges a delivery only after its unit is durable.
pub const ACK_AFTER_COMMIT: &str = "ack-after-commit";
/// The store remembers settled deliveries.
pub const INBOX: &str = "inbox";
/// Messages are committed with the unit.
pub const OUTBOX: &str = "outbox";
/// The relay deletes a message from the outbox only after the broker has confirmed it.
pub const CONFIRMS: &str = "confirms";
/// Messages that need a subscriber are published as mandatory.
pub const MANDATORY: &str = "mandatory";
/// The store refuses a unit if a record that it read has changed.
pub const READ_SET: &str = "read-set";
/// A command that is sent again keeps its operation id.
pub const OPERATION_ID: &str = "operation-id";
/// A unit checks and takes stock together.
pub const STOCK_CHECK: &str = "stock-check";
/// The store decides on each claim that the cache has granted, and on the units left.
pub const CLAIM_CHECK: &str = "claim-check";
/// A compensation that arrives first leaves a tombstone.
pub const TOMBSTONE: &str = "tombstone";
/// The unit that a timer causes removes the timer.
pub const TIMER_ONCE: &str = "timer-once";
/// The unit that settles a parked delivery writes it as a record.
pub const PARKING: &str = "parking";
/// All attempts of a call use the same idempotency key.
pub const CALL_KEY: &str = "call-key";
/// The unit of a scheduled run validates that no other replica has made the run.
pub const SCHEDULE_ONCE: &str = "schedule-once";
/// The receiver verifies the signatures of commands.
pub const SIGNATURES: &str = "signatures";
/// A subscription handles no live message before the replay of its past is complete.
pub const REPLAY_FIRST: &str = "replay-first";
/// The migration of an ordered queue fails if a message is published meanwhile.
pub const MIGRATION_PROBE: &str = "migration-probe";
/// A rebuild of index rows is done after its last page only.
pub const REBUILD_LAST: &str = "rebuild-last";
/// The number of partitions changes only once all messages in them are settled.
pub const PARTITIONS_EMPTY: &str = "partitions-empty";
/// A projection stores its checkpoints with its rows.
pub const PROJECTION_CHECKPOINT: &str = "projection-checkpoint";

#[cfg(feature = "sabotage")]
static REMOVED: std::sync::Mutex<Option<&'static str>> = std::sync::Mutex::new(None);

/// Disables a mechanism until the process ends.
///
/// # Errors
///
/// The known names if `mechanism` is not one of them.
#[cfg(feature = "sabotage")]
pub fn remove(mechanism: &str) -> Result<(), String> {
    let found = MECHANISMS.into_iter().find(|known| *known == mechanism);
    let known = found.ok_or_else(|| format!("{mechanism:?} is not one of {MECHANISMS:?}"))?;
    eprintln!("WINGBEAT-SABOTAGE: without {known}");
    *REMOVED.lock().expect("no holder panics") = Some(known);
    Ok(())
}

/// Returns whether this mechanism is disabled.
#[cfg(feature = "sabotage")]
#[must_use]
pub fn lacks(mechanism: &str) -> bool {
    *REMOVED.lock().expect("no holder panics") == Some(mechanism)
}

/// Returns `false`: this build cannot disable a mechanism.
#[cfg(not(feature = "sabotage"))]
#[must_use]
#[inline(always)]
pub const fn lacks(_mechanism: &str) -> bool {
    false
}
