//! Negative controls: the shop without one mechanism. The kill test must catch that; what it does not
//! catch, it does not guard.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::kill::killed;
use shop_e2e::process::target;

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
    assert!(broken.iter().any(|it| it.contains(" times")), "{broken:?}");
}

/// What the simulation must notice, within so many seeds and so long.
const SIMULATED: [&str; 11] = [
    "ack-after-commit",
    "inbox",
    "outbox",
    "confirms",
    "read-set",
    "operation-id",
    "stock-check",
    "tombstone",
    "timer-once",
    "parking",
    "call-key",
];
const CAUGHT_WITHIN: Duration = Duration::from_secs(300);

#[test]
fn the_simulation_catches_every_missing_mechanism() {
    for mechanism in SIMULATED {
        let mut simulation = Command::new(sabotaged())
            .args(["simulate", "--seeds", "1000", "--until-failure", "--json"])
            .env("WINGBEAT_SABOTAGE", mechanism)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let until = Instant::now() + CAUGHT_WITHIN;
        while simulation.try_wait().unwrap().is_none() {
            if Instant::now() > until {
                simulation.kill().unwrap();
                panic!("without {mechanism}: nothing noticed in time");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        let output = simulation.wait_with_output().unwrap();
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        let first = &told["failures"][0];
        assert_eq!(output.status.code(), Some(1), "without {mechanism}");
        assert_ne!(first["invariant"], "everything is seen", "{mechanism}");
        println!(
            "without {mechanism}: seed {}: {}",
            first["seed"], first["detail"]
        );
    }
}
