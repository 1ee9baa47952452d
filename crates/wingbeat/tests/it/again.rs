//! Negative controls that run one test of this program again without a mechanism.
#![allow(
    clippy::disallowed_methods,
    reason = "the environment tells the other process which mechanism it lacks"
)]

use std::process::Command;

/// The environment variable that names the disabled mechanism.
const WITHOUT: &str = "WINGBEAT_TEST_WITHOUT";

/// Disables the mechanism that the environment names, if any.
pub(crate) fn disable() {
    #[cfg(feature = "sabotage")]
    if let Ok(mechanism) = std::env::var(WITHOUT) {
        wingbeat::sabotage::remove(&mechanism).expect("a known mechanism");
    }
}

/// Asserts that a test fails without a mechanism. Without the feature `sabotage`, nothing can be
/// disabled and nothing is asserted.
pub(crate) fn fails_without(mechanism: &str, test: &str) {
    if cfg!(not(feature = "sabotage")) {
        return;
    }
    let program = std::env::current_exe().expect("this program has a path");
    let run = Command::new(program)
        .args(["--exact", test])
        .env(WITHOUT, mechanism)
        .output();
    let output = run.expect("it starts").stdout;
    let output = String::from_utf8_lossy(&output);
    let failed = format!("test {test} ... FAILED");
    assert!(output.contains(&failed), "without {mechanism}: {output}");
}
