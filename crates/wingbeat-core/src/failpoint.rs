//! Failpoints: named steps at which a test ends the process, to check what a crash leaves behind.
//!
//! Without the feature `sabotage`, no step can be armed and [`reached`] compiles to nothing.

/// All steps, in the order in which a delivery passes them.
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

/// A delivery has arrived, and its handler has not started.
pub const HANDLER_BEFORE: &str = "handler-before";
/// The handler has returned, and its unit is not staged.
pub const HANDLER_AFTER: &str = "handler-after";
/// A batch of units is about to be committed.
pub const COMMIT_BEFORE: &str = "commit-before";
/// A batch of units is durable, and no waiting task was notified.
pub const COMMIT_AFTER: &str = "commit-after";
/// Units are durable, and their deliveries are not acknowledged.
pub const ACK_BEFORE: &str = "ack-before";
/// The acknowledgements were passed to the transport.
pub const ACK_AFTER: &str = "ack-after";
/// Messages were claimed, with their commit or from the outbox, and not yet published.
pub const RELAY_CLAIMED: &str = "relay-claimed";
/// The broker has confirmed messages, and they are still in the outbox.
pub const RELAY_CONFIRMED: &str = "relay-confirmed";
/// Confirmed messages were deleted from the outbox.
pub const RELAY_REMOVED: &str = "relay-removed";
/// An outside call is about to start.
pub const CALL_BEFORE: &str = "call-before";
/// An outside call has returned, and its outcome is not durable.
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

    /// Arms one step: the process aborts when it passes `<step>@<n>` for the nth time (`@1` by
    /// default).
    ///
    /// # Errors
    ///
    /// A description of the problem if `spec` names no step or no number, or a step is armed
    /// already.
    pub fn arm(spec: &str) -> Result<(), String> {
        let (name, times) = spec.split_once('@').unwrap_or((spec, "1"));
        let step = super::STEPS.into_iter().find(|known| *known == name);
        let step = step.ok_or_else(|| format!("{name:?} is not one of {:?}", super::STEPS))?;
        let times: u64 = times
            .parse()
            .map_err(|_| format!("{times:?} is not a number"))?;
        let left = AtomicU64::new(times.max(1));
        ARMED
            .set(Armed { step, left })
            .map_err(|_| "another step is armed already".to_owned())
    }

    /// Marks a step, and aborts the process there if a test has armed it.
    pub fn reached(step: &str) {
        let Some(armed) = ARMED.get().filter(|armed| armed.step == step) else {
            return;
        };
        if armed.left.fetch_sub(1, Ordering::SeqCst) == 1 {
            eprintln!("WINGBEAT-SABOTAGE: aborting at {step}");
            std::process::abort();
        }
    }
}

#[cfg(feature = "sabotage")]
pub use armed::{arm, reached};

/// Marks a step, and does nothing else in this build.
#[cfg(not(feature = "sabotage"))]
#[inline(always)]
pub const fn reached(_step: &str) {}
