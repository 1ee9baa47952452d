//! `kill -9` at random moments, again and again on the same data, with orders in flight.

use shop_e2e::process::Place;
use shop_e2e::shopping::Shopping;

/// Shoppers who place orders at the same time.
const SHOPPERS: usize = 60;
/// Orders in flight when the process is killed.
const IN_FLIGHT: u64 = 50;
const KILLS: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shop_that_is_killed_twenty_times_loses_and_repeats_nothing() {
    let data = tempfile::tempdir().unwrap();
    let place = Place::new(data.path()).ships_after("1s");
    let mut running = place.start().await;
    let shopping = Shopping::begin(&place.site(), SHOPPERS).await;
    for _ in 0..KILLS {
        shopping.in_flight(IN_FLIGHT).await;
        running.kill();
        running = place.start().await;
    }
    let outcome = shopping.end().await;
    assert_eq!(outcome.broken, Vec::<String>::new());
    assert!(outcome.accepted >= KILLS, "{} orders", outcome.accepted);
    drop(running);
}
