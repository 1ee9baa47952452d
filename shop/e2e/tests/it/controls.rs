//! Negative controls: the shop without one mechanism. The kill test must catch that; what it does not
//! catch, it does not guard.

use std::path::PathBuf;

use crate::kill::killed;
use crate::process::target;

/// The build that can be made to lack a mechanism; `cargo xtask test release` makes it.
pub(crate) fn sabotaged() -> PathBuf {
    let path = target().join("sabotaged/shop");
    assert!(
        path.exists(),
        "{} is missing: cargo xtask test release",
        path.display()
    );
    path
}

/// Kills it until it is caught, ten times at most.
async fn is_caught(without: &str) -> Vec<String> {
    killed(sabotaged(), Some(without), 10).await.broken
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledging_before_the_commit_is_caught() {
    let broken = is_caught("ack-after-commit").await;
    assert!(!broken.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn provider_calls_without_their_idempotency_key_are_caught() {
    let broken = is_caught("call-key").await;
    assert!(
        broken.iter().any(|it| it.contains("captured")),
        "{broken:?}"
    );
}

#[tokio::test]
async fn losing_a_parked_delivery_is_caught() {
    let broken = crate::parked::lost(sabotaged(), "parking").await;
    let broken = broken.expect("the audit names it");
    assert!(broken.contains("notifications.user_registered"), "{broken}");
}
