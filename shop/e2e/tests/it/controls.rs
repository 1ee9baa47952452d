//! Negative controls: builds of the shop that lack one mechanism each. The kill test must catch them;
//! what it does not catch, it does not guard.

use std::path::PathBuf;

use crate::kill::killed;
use crate::process::target;

/// The build without this mechanism; `cargo xtask test release` makes it.
fn sabotaged(how: &str) -> PathBuf {
    let path = target().join("sabotaged").join(how);
    assert!(
        path.exists(),
        "{} is missing: cargo xtask test release",
        path.display()
    );
    path
}

/// Kills it until it is caught, ten times at most.
async fn is_caught(how: &str) -> Vec<String> {
    killed(sabotaged(how), 10).await.broken
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledging_before_the_commit_is_caught() {
    let broken = is_caught("sabotage-ack-before-commit").await;
    assert!(!broken.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn provider_calls_without_their_idempotency_key_are_caught() {
    let broken = is_caught("sabotage-no-operation-key").await;
    assert!(
        broken.iter().any(|it| it.contains("captured")),
        "{broken:?}"
    );
}

#[tokio::test]
async fn losing_a_parked_delivery_is_caught() {
    let broken = crate::parked::lost(sabotaged("sabotage-lost-parked")).await;
    let broken = broken.expect("the audit names it");
    assert!(broken.contains("notifications.user_registered"), "{broken}");
}
