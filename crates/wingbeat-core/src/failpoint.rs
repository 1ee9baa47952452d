//! Ends the process at a named step, for tests: what dies between two steps is what a crash leaves behind.
//!
//! Without the feature `sabotage`, which no member enables, nothing can be armed and passing a step costs nothing.

/// The steps at which a process can be made to end, in the order in which a delivery passes them.
pub const STEPS: [&str; 11] = [
    HANDLER_BEFORE,
    HANDLER_AFTER,
    COMMIT_BEFORE,
    COMMIT_AFTER,
    ACK_BEFORE,
    ACK_AFTER,
    RELAY_CLAIMED,
    RELAY_CONFIRMED,
    RELAY_REMOVED,
    CALL_BEFORE,
    CALL_AFTER,
];

/// A delivery has come, its handler has not run.
pub const HANDLER_BEFORE: &str = "handler-before";
/// The handler has run, its unit is not staged.
pub const HANDLER_AFTER: &str = "handler-after";
/// Units are on their way to the store.
pub const COMMIT_BEFORE: &str = "commit-before";
/// Units are durable, and nobody was told.
pub const COMMIT_AFTER: &str = "commit-after";
/// Units are durable, and their deliveries not acknowledged.
pub const ACK_BEFORE: &str = "ack-before";
/// Deliveries are acknowledged, as far as this process knows.
pub const ACK_AFTER: &str = "ack-after";
/// Messages were claimed, with their commit or from the outbox, and are not published.
pub const RELAY_CLAIMED: &str = "relay-claimed";
/// Messages were confirmed by the broker, and are still in the outbox.
pub const RELAY_CONFIRMED: &str = "relay-confirmed";
/// Messages were confirmed and removed.
pub const RELAY_REMOVED: &str = "relay-removed";
/// An outside call is about to be made.
pub const CALL_BEFORE: &str = "call-before";
/// An outside call was answered, and its outcome is not durable.
pub const CALL_AFTER: &str = "call-after";

#[cfg(feature = "sabotage")]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Armed {
        step: &'static str,
        left: AtomicU64,
    }

    static ARMED: OnceLock<Armed> = OnceLock::new();

    /// Has the process end when it passes `<step>@<n>` for the nth time. Can be said once.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn arm(spec: &str) -> Result<(), String> {
        let (name, times) = spec.split_once('@').unwrap_or((spec, "1"));
        let step = super::STEPS.into_iter().find(|known| *known == name);
        let step = step.ok_or_else(|| format!("{name:?} is none of {:?}", super::STEPS))?;
        let times: u64 = times
            .parse()
            .map_err(|_| format!("{times:?} is not a number of times"))?;
        let left = AtomicU64::new(times.max(1));
        ARMED
            .set(Armed { step, left })
            .map_err(|_| "a step is armed already".to_owned())
    }

    /// The process passes a step, and ends there if it was armed and its time has come.
    pub fn reached(step: &str) {
        let Some(armed) = ARMED.get().filter(|armed| armed.step == step) else {
            return;
        };
        if armed.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            eprintln!("WINGBEAT-SABOTAGE: ends at {step}");
            std::process::abort();
        }
    }
}

#[cfg(feature = "sabotage")]
pub use armed::{arm, reached};

/// The process passes a step: nothing happens.
#[cfg(not(feature = "sabotage"))]
#[inline(always)]
pub const fn reached(_step: &str) {}
