//! Acknowledged and unacknowledged deliveries.

use std::sync::Arc;

use crate::conformance::{Bench, Fixture, RESERVE, RESERVING, delivered};

/// After its consumer is dropped, an unacknowledged message is delivered again, marked as
/// redelivered.
pub async fn unacknowledged_deliveries_are_redelivered(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let messages = bench.messages(RESERVE, 4);
    bench.publish(messages.clone()).await;
    let mut consumer = bench.consume(RESERVING, 10).await;
    let taken = bench.take(&mut consumer, 4).await;
    bench.settle(RESERVING, &mut consumer, &taken[..2]).await;
    bench.assert_depth(RESERVING, 2).await;
    drop(consumer);
    let mut consumer = bench.consume(RESERVING, 10).await;
    let again = bench.take(&mut consumer, 2).await;
    assert_eq!(delivered(&again), delivered(&taken[2..]));
    assert!(
        again.iter().all(|delivery| delivery.redelivered),
        "the message may have been handled"
    );
    bench.assert_quiet(&mut consumer).await;
}

/// Acknowledging a later delivery does not acknowledge earlier ones.
pub async fn acknowledgements_out_of_order_settle_only_their_deliveries(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    bench.publish(bench.messages(RESERVE, 5)).await;
    let mut consumer = bench.consume(RESERVING, 10).await;
    let mut taken = bench.take(&mut consumer, 5).await;
    let last = taken.remove(4);
    let settled = [taken.remove(3), taken.remove(1)];
    bench.settle(RESERVING, &mut consumer, &[last]).await;
    bench.settle(RESERVING, &mut consumer, &settled).await;
    bench.assert_depth(RESERVING, 2).await;
    drop(consumer);
    let mut consumer = bench.consume(RESERVING, 10).await;
    let again = bench.take(&mut consumer, 2).await;
    assert_eq!(delivered(&again), delivered(&taken));
    bench.assert_quiet(&mut consumer).await;
}

/// An acknowledged message is delivered again neither to this consumer nor to a later one.
pub async fn acknowledged_deliveries_are_never_redelivered(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    bench.publish(bench.messages(RESERVE, 3)).await;
    let mut consumer = bench.consume(RESERVING, 10).await;
    let taken = bench.take(&mut consumer, 3).await;
    bench.settle(RESERVING, &mut consumer, &taken).await;
    bench.assert_depth(RESERVING, 0).await;
    bench.assert_quiet(&mut consumer).await;
    drop(consumer);
    let mut consumer = bench.consume(RESERVING, 10).await;
    bench.assert_quiet(&mut consumer).await;
}

/// After a restart, only unacknowledged messages are delivered again.
pub async fn acknowledged_deliveries_stay_acknowledged_over_a_restart(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    bench.publish(bench.messages(RESERVE, 2)).await;
    let mut consumer = bench.consume(RESERVING, 10).await;
    let taken = bench.take(&mut consumer, 2).await;
    bench.settle(RESERVING, &mut consumer, &taken[..1]).await;
    bench.assert_depth(RESERVING, 1).await;
    drop(consumer);
    let bench = bench.reopen(&fixture).await;
    let mut consumer = bench.consume(RESERVING, 10).await;
    let again = bench.take(&mut consumer, 1).await;
    assert_eq!(delivered(&again), delivered(&taken[1..]));
    bench.assert_quiet(&mut consumer).await;
}
