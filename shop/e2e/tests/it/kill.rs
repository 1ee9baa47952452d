//! `kill -9` at random moments, again and again on the same data, with orders in flight: nothing that
//! was answered is forgotten, nothing is done twice.

use std::path::PathBuf;

use shop_e2e::process::{Place, binary};
use shop_e2e::shopping::{IN_FLIGHT, Outcome, SHOPPERS, Shopping};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shop_that_is_killed_twenty_times_forgets_and_repeats_nothing() {
    let outcome = killed(binary(), None, 20).await;
    assert_eq!(outcome.broken, Vec::<String>::new());
    assert!(
        outcome.accepted > 20 * IN_FLIGHT,
        "{} orders",
        outcome.accepted
    );
}

/// Kills a shop so many times under traffic, and says what became of its promises.
pub(crate) async fn killed(binary: PathBuf, without: Option<&str>, times: usize) -> Outcome {
    let data = tempfile::tempdir().unwrap();
    let place = Place::of(data.path(), binary)
        .without(without)
        .with("WINGBEAT_SHIPPING_DISPATCH_AFTER", "400ms")
        .with("WINGBEAT_SHIPPING_DELIVER_AFTER", "400ms");
    let mut running = place.start().await;
    let shopping = Shopping::begin(&place.shop(), SHOPPERS).await;
    for _ in 0..times {
        let busy = shopping.in_flight(IN_FLIGHT).await;
        assert!(busy, "never {IN_FLIGHT} orders in flight");
        running.kill();
        running = place.start().await;
    }
    let outcome = shopping.end(&place.shop(), &place.password()).await;
    drop(running);
    outcome
}
