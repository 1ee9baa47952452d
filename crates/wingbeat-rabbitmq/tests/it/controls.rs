//! Negative controls on a real broker: without a mechanism, the test that guards it fails.
//!
//! Run them with `cargo test -p wingbeat-rabbitmq --features sabotage controls`. Each starts this
//! program again for one test, with the mechanism disabled.

use std::process::Command;

/// The environment variable that names the disabled mechanism.
const WITHOUT: &str = "WINGBEAT_TEST_WITHOUT";

/// Disables the mechanism that the environment names, if any.
pub(crate) fn disable() {
    if let Ok(mechanism) = std::env::var(WITHOUT) {
        wingbeat_core::sabotage::remove(&mechanism).unwrap();
    }
}

/// Returns whether a mechanism is disabled. Then tests wait less long for what will not happen.
pub(crate) fn is_control() -> bool {
    std::env::var(WITHOUT).is_ok()
}

fn fails_without(mechanism: &str, test: &str) {
    let program = std::env::current_exe().unwrap();
    let run = Command::new(program)
        .args(["--exact", test])
        .env(WITHOUT, mechanism)
        .output();
    let run = run.unwrap();
    let output = String::from_utf8_lossy(&run.stdout);
    let failed = format!("test {test} ... FAILED");
    assert!(output.contains(&failed), "without {mechanism}: {output}");
}

#[test]
fn without_mandatory_an_unroutable_message_is_lost() {
    let guard = "outbox::an_unroutable_message_is_listed_and_published_once_a_queue_is_bound";
    fails_without("mandatory", guard);
}

#[test]
fn without_confirms_a_message_is_lost_during_an_outage() {
    let guard = "outbox::messages_committed_during_an_outage_are_published_afterwards";
    fails_without("confirms", guard);
}

#[test]
fn a_message_acknowledged_before_its_commit_is_lost_with_its_replica() {
    let guard = "ordered::the_next_replica_continues_in_order_when_one_dies";
    fails_without("ack-after-commit", guard);
}

#[test]
fn without_the_inbox_a_message_counts_twice() {
    let guard = "outbox::a_message_that_is_published_twice_is_handled_once";
    fails_without("inbox", guard);
}

#[test]
fn without_the_probe_a_message_overtakes_another_in_a_migration() {
    let guard = "operate::a_migration_keeps_the_order_or_notices_what_is_published_meanwhile";
    fails_without("migration-probe", guard);
}
