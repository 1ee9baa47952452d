//! A bank is upgraded to a release that changes what is stored and published, and rolled back,
//! while clients make deposits. `shop/e2e/src/bin/bank` is the bank.

use std::path::Path;

use shop_e2e::evolving::{Evolving, Traffic};

const NOTHING: Vec<String> = Vec::new();

fn bank() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_bank"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_that_changes_what_is_stored_loses_nothing_nor_does_the_way_back() {
    let mut bank = Evolving::start(bank(), "first").await;
    let traffic = Traffic::begin(&bank);
    traffic.makes_deposits().await;
    bank.replace_all("second", &traffic).await;
    let upgraded = bank.record.counts();
    bank.rebuilt().await;
    traffic.makes_deposits().await;
    traffic.end().await;
    bank.record.has_currency_since(&upgraded);
    assert_eq!(bank.judge().await, NOTHING);

    let traffic = Traffic::begin(&bank);
    bank.replace_all("first", &traffic).await;
    traffic.end().await;
    assert_eq!(bank.judge().await, NOTHING);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_of_events_is_written_by_the_release_after_the_one_that_knows_it() {
    let mut bank = Evolving::start(bank(), "second").await;
    let traffic = Traffic::begin(&bank);
    traffic.makes_deposits().await;
    bank.replace_all("third", &traffic).await;
    bank.replace_all("second", &traffic).await;
    traffic.end().await;
    assert_eq!(bank.judge().await, NOTHING);
    // There is no way back to the first release, and its `verify` says why.
    let (verified, printed) = bank
        .command("first", &["verify", "--service", "bank"])
        .await;
    assert!(!verified && printed.contains("unknown_form"), "{printed}");
}

/// Replaces the first replicas of the first release, and returns the requests that fail.
async fn failures_beside(release: &'static str) -> Vec<String> {
    let mut bank = Evolving::start(bank(), "first").await;
    let traffic = Traffic::begin(&bank);
    traffic.makes_deposits().await;
    bank.replace(0, release).await;
    traffic.fails().await;
    traffic.end().await;
    bank.record.failed()
}

/// The negative control: the new form is written while replicas run that do not know it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_that_writes_a_form_at_once_fails_requests_to_the_one_before() {
    let broken = failures_beside("third").await;
    assert!(broken[0].contains("500"), "{broken:?}");
}

/// The negative control: the field is renamed without a step.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_without_an_upcast_fails_requests() {
    let broken = failures_beside("without-upcast").await;
    assert!(broken[0].contains("500"), "{broken:?}");
}

/// The negative control: statements take the first version, which is no longer published.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deposits_of_a_release_without_the_first_version_are_missed() {
    let mut bank = Evolving::start(bank(), "first").await;
    let traffic = Traffic::begin(&bank);
    traffic.makes_deposits().await;
    bank.replace(0, "without-v1").await;
    bank.replace(1, "without-v1").await;
    bank.rebuilt().await;
    traffic.end().await;
    let broken = bank.judge().await;
    assert!(
        broken.iter().any(|it| it.contains("/statements/")),
        "{broken:?}"
    );
}
