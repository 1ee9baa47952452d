//! Negative controls in one process: without a mechanism the verdict of the kill test, or the
//! simulation, must find a broken promise. What they do not find, they do not guard.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use serde_json::Value;
use shop_client::Card;
use shop_e2e::process::{Place, sabotaged};
use shop_e2e::shopping::Shopping;

use crate::failpoints::{PASSES, ROUNDS, SIGABRT};

/// Shoppers who place orders at the same time.
const SHOPPERS: usize = 20;
/// Orders accepted before the process is sent to its step.
const ORDERS: usize = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledging_before_the_commit_is_caught() {
    let data = tempfile::tempdir().unwrap();
    let place = Place::of(data.path(), sabotaged())
        .without(Some("ack-after-commit"))
        .ships_after("400ms");
    let mut running = place.start().await;
    for _ in 0..ROUNDS {
        let shopping = Shopping::begin(&place.site(), SHOPPERS).await;
        shopping.accepts(ORDERS).await.unwrap();
        running.kill();
        let mut command = place.command();
        command.env("WINGBEAT_FAILPOINT", format!("commit-before@{PASSES}"));
        let status = place.start_to_end(command).await;
        assert_eq!(status.signal(), Some(SIGABRT), "{status}");
        running = place.start().await;
        if !shopping.end().await.broken.is_empty() {
            return;
        }
    }
    panic!("{ROUNDS} processes died and nothing was noticed");
}

/// The provider books and then cuts the connection, so it is asked again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn provider_calls_without_their_idempotency_key_are_caught() {
    let data = tempfile::tempdir().unwrap();
    let place = Place::of(data.path(), sabotaged())
        .without(Some("call-key"))
        .ships_after("10ms");
    let running = place.start().await;
    let shopping = Shopping::with_cards(&place.site(), 1, &[Card::LostReply]).await;
    shopping.accepts(1).await.unwrap();
    let broken = shopping.end().await.broken;
    assert!(broken.iter().any(|it| it.contains(" times")), "{broken:?}");
    drop(running);
}

/// The mechanisms whose absence the simulation must notice within [`SEEDS`], each with the first
/// seed that noticed it. The search begins with that seed, because this build simulates slowly.
const SIMULATED: [(&str, u64); 12] = [
    ("ack-after-commit", 18),
    ("inbox", 3),
    ("outbox", 12),
    ("confirms", 1),
    ("read-set", 1),
    ("operation-id", 13),
    ("stock-check", 87),
    ("claim-check", 3),
    ("tombstone", 50),
    ("timer-once", 43),
    ("parking", 1),
    ("call-key", 2),
];

/// The seeds that are searched if a change of the shop has made a known seed blind.
const SEEDS: u64 = 1_000;

/// Simulates the shop without a mechanism. Returns the first failure.
fn simulated(mechanism: &str, first: u64, seeds: u64) -> Option<Value> {
    let (first, seeds) = (first.to_string(), seeds.to_string());
    let output = Command::new(sabotaged())
        // The minimization of a failure simulates it 30 times more, and changes no verdict.
        .args(["simulate", "--until-failure", "--no-minimize", "--json"])
        .args(["--seed", &first, "--seeds", &seeds])
        .env("WINGBEAT_SABOTAGE", mechanism)
        .stderr(Stdio::null())
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let failures = report["failures"].as_array().unwrap().iter();
    // A few seeds leave parts of the shop unused, which is no proof of anything.
    let mut broken = failures.filter(|it| it["invariant"] != "everything is seen");
    broken.next().cloned()
}

#[test]
fn the_simulation_catches_every_missing_mechanism() {
    for (mechanism, known) in SIMULATED {
        let failure = simulated(mechanism, known, 1).or_else(|| simulated(mechanism, 1, SEEDS));
        let failure = failure.unwrap_or_else(|| panic!("nothing is broken without {mechanism}"));
        println!(
            "without {mechanism}: seed {} (known: {known}): {}",
            failure["seed"], failure["detail"]
        );
    }
}
