//! Negative controls that only a real broker can show: with a mechanism taken away, the test that guards it
//! fails. Run with `cargo test -p wingbeat-rabbitmq --features sabotage controls`.

use std::process::Command;

/// Tells a run of this program what it is to lack.
const WITHOUT: &str = "WINGBEAT_TEST_WITHOUT";

/// Takes away what this run is to lack.
pub(crate) fn take_away() {
    if let Ok(mechanism) = std::env::var(WITHOUT) {
        wingbeat_core::sabotage::remove(&mechanism).unwrap();
    }
}

/// Whether this run lacks something: then nobody waits long for what will not happen.
pub(crate) fn lacks_something() -> bool {
    std::env::var(WITHOUT).is_ok()
}

fn fails_without(mechanism: &str, test: &str) {
    let program = std::env::current_exe().unwrap();
    let run = Command::new(program)
        .args(["--exact", test])
        .env(WITHOUT, mechanism)
        .output();
    let run = run.unwrap();
    let told = String::from_utf8_lossy(&run.stdout);
    let failed = format!("test {test} ... FAILED");
    assert!(told.contains(&failed), "without {mechanism}: {told}");
}

#[test]
fn without_mandatory_a_message_that_nobody_takes_is_lost() {
    let guard = "outbox::what_nobody_takes_is_listed_and_goes_out_once_somebody_does";
    fails_without("mandatory", guard);
}

#[test]
fn without_confirms_a_message_is_lost_while_the_broker_is_away() {
    let guard = "outbox::what_is_committed_while_the_broker_is_away_arrives_when_it_is_back";
    fails_without("confirms", guard);
}

#[test]
fn acknowledged_before_the_commit_a_message_is_lost_with_its_replica() {
    let guard = "ordered::the_next_replica_goes_on_in_order_when_one_dies";
    fails_without("ack-after-commit", guard);
}

#[test]
fn without_the_inbox_a_message_counts_twice() {
    let guard = "outbox::a_message_that_is_published_twice_counts_once";
    fails_without("inbox", guard);
}
