//! Processes on real servers that end exactly between two steps of a delivery. With all mechanisms
//! nothing is lost or repeated; without one of them the promise that it guards is broken.

use std::os::unix::process::ExitStatusExt as _;

use shop_e2e::fleet::{Fleet, Plan};
use shop_e2e::shopping::Shopping;
use shop_e2e::verdict::Outcome;
use wingbeat_core::failpoint;

use crate::shared::{WHOLE, sabotage};

/// For each step a service whose processes pass it while orders are placed.
const PASSING: [&str; failpoint::STEPS.len()] = [
    "orders",
    "inventory",
    "orders",
    "inventory",
    "orders",
    "payments",
    "inventory",
    "orders",
    "payments",
    "payments",
    "payments",
];
/// The passes of the step until the process ends there: by then its work is in full flow.
pub(crate) const PASSES: u32 = 5;
/// The deaths at a step until a missing mechanism must have been noticed. One is usually enough.
pub(crate) const ROUNDS: usize = 8;
/// The signal by which `abort` ends a process.
pub(crate) const SIGABRT: i32 = 6;
/// Shoppers who place orders at the same time.
const SHOPPERS: usize = 20;
/// Orders accepted before a process is sent to its step.
const ORDERS: usize = 4;

/// Lets one replica of a service end at a step while orders are placed, and starts it again.
async fn die_at(fleet: &mut Fleet, shopping: &Shopping, step: &str, service: &str) {
    shopping.accepts(ORDERS).await.unwrap();
    let member = fleet.of(service).swap_remove(0);
    member.kill();
    member.start_with(&[("WINGBEAT_FAILPOINT", &format!("{step}@{PASSES}"))]);
    let status = member.exit().await;
    assert_eq!(status.signal(), Some(SIGABRT), "{member} at {step}");
    member.start();
}

/// Waits until the fleet is ready and the orders have ended.
async fn end(fleet: &mut Fleet, shopping: Shopping) -> Outcome {
    fleet.ready().await;
    shopping.end().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_may_die_between_any_two_steps() {
    let mut fleet = WHOLE.alone().await;
    let shopping = Shopping::begin(&fleet.site(), SHOPPERS).await;
    for (step, service) in failpoint::STEPS.into_iter().zip(PASSING) {
        die_at(&mut fleet, &shopping, step, service).await;
    }
    let outcome = end(&mut fleet, shopping).await;
    assert_eq!(outcome.broken, Vec::<String>::new());
    assert!(outcome.accepted >= PASSING.len() * ORDERS);
}

/// Lets replicas of a service die at a step without a mechanism until the verdict contains one of
/// these words.
async fn is_caught(mechanism: &str, step: &str, plan: Plan, words: &[&str]) {
    let mut fleet = sabotage(plan, Some(mechanism)).start().await;
    let service = fleet.members[1].roles[0];
    for _ in 0..ROUNDS {
        let shopping = Shopping::begin(&fleet.site(), SHOPPERS).await;
        die_at(&mut fleet, &shopping, step, service).await;
        let broken = end(&mut fleet, shopping).await.broken;
        let expected = |it: &&String| words.iter().any(|words| it.contains(words));
        if let Some(found) = broken.iter().find(expected) {
            println!("without {mechanism}: {found}");
            return;
        }
        assert_eq!(
            broken,
            Vec::<String>::new(),
            "another promise, without {mechanism}"
        );
    }
    panic!("without {mechanism}: {ROUNDS} processes died and nothing was noticed");
}

/// The audit compares the numbers of published and handled messages.
const MISCOUNTED: &str = "invariant 9:";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledging_before_the_commit_is_caught_on_real_servers() {
    let plan = Plan::around("notifications", 1);
    is_caught("ack-after-commit", "commit-before", plan, &[MISCOUNTED]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleting_messages_before_the_broker_confirms_is_caught_on_real_servers() {
    let plan = Plan::around("inventory", 1);
    is_caught("confirms", "relay-claimed", plan, &[MISCOUNTED]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgetting_handled_messages_is_caught_on_real_servers() {
    let plan = Plan::around("inventory", 1);
    is_caught("inbox", "ack-before", plan, &[MISCOUNTED]).await;
}

/// A process that commits first and publishes afterwards may die in between. A message that is not
/// sent again is then missing for ever; one that is sent again was published once and never
/// handled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishing_outside_the_unit_is_caught_on_real_servers() {
    let plan = Plan::around("orders", 1);
    is_caught("outbox", "commit-after", plan, &["never ended", MISCOUNTED]).await;
}

/// Two replicas that share keys overwrite each other's changes without any death.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn overwriting_changes_is_caught_on_real_servers() {
    let plan = Plan::around("inventory", 2);
    is_caught("read-set", "commit-before", plan, &["invariant"]).await;
}

/// The provider books and then cuts the connection, or the caller dies: it is asked again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_without_their_key_are_caught_on_real_servers() {
    let plan = Plan::around("payments", 1);
    is_caught("call-key", "call-after", plan, &["booked"]).await;
}
