//! Processes on real servers that die exactly between two steps of a delivery; and, without one mechanism, the
//! step at which that shows.

use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use shop_e2e::fleet::{Fleet, PASSWORD};
use shop_e2e::shopping::{Outcome, Shopping};
use tempfile::TempDir;
use wingbeat_core::failpoint;

use crate::controls::sabotaged;

/// For each step at which a process can be made to end a service that passes it under orders.
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
/// Passes of the step until the process ends there: by then its work is in full flow.
const PASSES: u32 = 5;
/// How long a process may take to come to its step.
const DIES_WITHIN: Duration = Duration::from_secs(30);
/// The pause between looks.
const LOOK: Duration = Duration::from_millis(10);
/// Shoppers at work.
const SHOPPERS: usize = 20;
/// Orders in flight when a process is sent to its end.
const IN_FLIGHT: usize = 4;
/// What `abort` ends a process with.
const SIGABRT: i32 = 6;
/// How long orders may take to end: longer than a dead process's claims hold (30 s).
const ENDED_WITHIN: Duration = Duration::from_secs(60);

/// A fleet that lacks a mechanism, or none.
pub(crate) async fn without(mechanism: Option<&str>) -> (Fleet, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = vec![
        ("WINGBEAT_SHIPPING_DISPATCH_AFTER", "400ms"),
        ("WINGBEAT_SHIPPING_DELIVER_AFTER", "400ms"),
        ("WINGBEAT_CHECKOUT_RESEND_AFTER", "3s"),
    ];
    settings.extend(mechanism.map(|it| ("WINGBEAT_SABOTAGE", it)));
    let fleet = Fleet::start(folder.path().to_owned(), sabotaged(), &settings).await;
    (fleet, folder)
}

/// A fleet, and shoppers in it.
struct Scene {
    fleet: Fleet,
    shopping: Shopping,
    _folder: TempDir,
}

impl Scene {
    /// With one mechanism taken away from all of its processes, or whole.
    async fn without(mechanism: Option<&str>) -> Self {
        let (fleet, folder) = without(mechanism).await;
        let shopping = Shopping::begin(&fleet.shop(), SHOPPERS).await;
        Self {
            fleet,
            shopping,
            _folder: folder,
        }
    }

    /// Has the first replica of a service end at a step, with orders in flight, and starts it again.
    async fn dies_at(&mut self, step: &str, service: &str) {
        let busy = self.shopping.in_flight(IN_FLIGHT).await;
        assert!(busy, "orders are placed before {step}");
        let member = self.fleet.of(service).swap_remove(0);
        member.kill();
        member.start_with("WINGBEAT_FAILPOINT", &format!("{step}@{PASSES}"));
        let until = Instant::now() + DIES_WITHIN;
        let status = loop {
            if let Some(status) = member.ended() {
                break status;
            }
            assert!(Instant::now() < until, "{service} never comes to {step}");
            tokio::time::sleep(LOOK).await;
        };
        assert_eq!(status.signal(), Some(SIGABRT), "{service} at {step}");
        member.start();
    }

    /// What became of the promises.
    async fn end(mut self) -> Outcome {
        self.fleet.ready().await;
        let shop = self.fleet.shop();
        self.shopping
            .end_within(ENDED_WITHIN, &shop, PASSWORD)
            .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_may_die_between_any_two_steps() {
    let mut scene = Scene::without(None).await;
    for (step, service) in failpoint::STEPS.into_iter().zip(PASSING) {
        scene.dies_at(step, service).await;
    }
    let outcome = scene.end().await;
    assert_eq!(outcome.broken, Vec::<String>::new());
    assert!(outcome.accepted > PASSING.len() * IN_FLIGHT);
}

/// Without the mechanism, deaths at the step break a promise, and the verdict says so in some of these words.
async fn is_caught(mechanism: &str, step: &str, service: &str, words: &[&str]) {
    let mut scene = Scene::without(Some(mechanism)).await;
    for _ in 0..4 {
        scene.dies_at(step, service).await;
    }
    let broken = scene.end().await.broken;
    let says_so = |it: &&String| words.iter().any(|words| it.contains(words));
    let told = broken.iter().find(says_so);
    let told = told.unwrap_or_else(|| panic!("without {mechanism}: {broken:?}"));
    println!("without {mechanism}: {told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledging_before_the_commit_is_caught_on_real_servers() {
    is_caught(
        "ack-after-commit",
        "commit-before",
        "notifications",
        &["published, but"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removing_messages_before_the_broker_confirms_is_caught_on_real_servers() {
    is_caught(
        "confirms",
        "relay-claimed",
        "inventory",
        &["published, but"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgetting_what_was_handled_is_caught_on_real_servers() {
    is_caught("inbox", "ack-before", "inventory", &["published, but"]).await;
}

/// Who writes first and tells the others afterwards may die in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_apart_from_their_unit_are_caught_on_real_servers() {
    // What is not sent again is waited for in vain; what is, was published once and handled never.
    let words = ["never ended", "published, but"];
    is_caught("outbox", "commit-after", "orders", &words).await;
}

/// Two replicas that share keys need no help to get into each other's way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writing_over_what_has_changed_is_caught_on_real_servers() {
    is_caught("read-set", "commit-before", "inventory", &["\"ok\":false"]).await;
}

/// A provider that books and then cuts the connection is asked again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_without_their_key_are_caught_on_real_servers() {
    is_caught("call-key", "call-after", "payments", &["booked"]).await;
}
