//! What is acknowledged is gone, and nothing else.

use std::sync::Arc;

use crate::conformance::{Bench, Fixture, RESERVE, RESERVING, delivered};

pub async fn what_was_not_acknowledged_comes_again(fixture: Arc<dyn Fixture>) {
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
        "they may have been handled"
    );
    bench.assert_quiet(&mut consumer).await;
}

pub async fn what_is_acknowledged_out_of_order_leaves_the_others(fixture: Arc<dyn Fixture>) {
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

pub async fn what_was_acknowledged_never_comes_again(fixture: Arc<dyn Fixture>) {
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

pub async fn what_is_settled_stays_settled_over_a_restart(fixture: Arc<dyn Fixture>) {
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
