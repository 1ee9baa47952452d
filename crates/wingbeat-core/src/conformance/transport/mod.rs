//! The conformance suite of the [`Transport`](crate::Transport) port.
//!
//! `transport_conformance!` turns each test into a `#[test]`. See [`crate::conformance`] for the
//! fixture.

mod acknowledged;
mod forwarded;
mod replies;

pub use acknowledged::*;
pub use forwarded::*;
pub use replies::*;

use std::sync::Arc;

use bytes::Bytes;

use crate::Propagation;
use crate::conformance::{
    A_WHILE, Bench, Fixture, IGNORED, MAIL_PLACED, MOVED, PLACED, RESERVE, RESERVING, STOCK_MOVED,
    STOCK_PLACED, UNHEARD, delivered, envelope, ids, put, topology,
};
use crate::envelope::BODY_MAX;
use crate::transport::Refused;
use crate::unit::Outcome;
use crate::{Delivery, Envelope, MessageId, RuntimeExt as _, Unit};

/// Turns each test of the transport suite into a `#[test]`. `$run` is a function that takes a
/// [`Test`](crate::conformance::Test), creates a fixture and drives the future of the test.
#[macro_export]
macro_rules! transport_conformance {
    ($run:path) => {
        $crate::conformance_tests!(
            $run,
            $crate::conformance::transport,
            [
                a_ping_succeeds_at_any_time,
                declaring_again_changes_nothing,
                an_event_reaches_each_bound_queue_once,
                a_command_reaches_only_its_queue,
                a_command_without_a_queue_is_unroutable,
                an_event_without_a_queue_is_confirmed,
                a_message_is_delivered_unchanged,
                large_messages_are_delivered_unchanged,
                a_waiting_consumer_is_woken,
                unacknowledged_deliveries_are_redelivered,
                acknowledgements_out_of_order_settle_only_their_deliveries,
                acknowledged_deliveries_are_never_redelivered,
                acknowledged_deliveries_stay_acknowledged_over_a_restart,
                undelivered_messages_survive_a_restart,
                no_more_than_the_prefetch_is_delivered,
                requeued_deliveries_are_redelivered,
                a_cancelled_wait_loses_no_delivery,
                a_cancelled_consume_takes_no_delivery,
                two_consumers_share_a_queue,
                a_slow_queue_does_not_delay_another,
                the_depth_counts_waiting_and_unacknowledged_messages,
                a_parked_delivery_leaves_its_queue,
                thousands_of_messages_are_all_delivered,
                an_ordered_queue_keeps_the_order_of_publishing,
                an_ordered_queue_has_one_consumer_at_a_time,
                a_forwarded_message_reaches_only_its_queue,
                forwarded_messages_keep_their_order,
                a_message_forwarded_to_no_queue_is_unroutable,
                a_reply_reaches_only_its_queue,
                a_reply_without_a_queue_is_unroutable,
                a_reply_queue_is_opened_again,
                a_committed_reply_is_sent,
                a_request_is_delivered_unchanged,
            ]
        );
    };
}

/// `ping` succeeds before `declare`, after it, and after a restart, and delivers nothing.
pub async fn a_ping_succeeds_at_any_time(fixture: Arc<dyn Fixture>) {
    let opened = fixture.open().await;
    opened.transport.ping().await.expect("it is available");
    drop(opened);
    let mut bench = Bench::open(&fixture).await;
    for _ in 0..2 {
        bench.transport.ping().await.expect("it is available");
        let mut consumer = bench.consume(MAIL_PLACED, 10).await;
        bench.assert_quiet(&mut consumer).await;
        drop(consumer);
        bench = bench.reopen(&fixture).await;
    }
}

/// Declaring the topology again neither loses nor duplicates messages.
pub async fn declaring_again_changes_nothing(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    bench.publish(vec![bench.message(PLACED)]).await;
    bench
        .transport
        .declare(&topology())
        .await
        .expect("declaring is idempotent");
    bench.publish(vec![bench.message(PLACED)]).await;
    for queue in [STOCK_PLACED, MAIL_PLACED] {
        let mut consumer = bench.consume(queue, 10).await;
        bench.take(&mut consumer, 2).await;
        bench.assert_quiet(&mut consumer).await;
    }
}

/// An event is delivered once per bound queue, and to no other queue.
pub async fn an_event_reaches_each_bound_queue_once(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let messages = bench.messages(PLACED, 3);
    bench.publish(messages.clone()).await;
    for queue in [STOCK_PLACED, MAIL_PLACED] {
        let mut consumer = bench.consume(queue, 10).await;
        let taken = bench.take(&mut consumer, 3).await;
        assert_eq!(delivered(&taken), ids(&messages));
        bench.assert_quiet(&mut consumer).await;
    }
    bench.assert_depth(RESERVING, 0).await;
}

/// A command is delivered to the one queue that is bound to it.
pub async fn a_command_reaches_only_its_queue(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let command = bench.message(RESERVE);
    bench.publish(vec![command.clone()]).await;
    let mut consumer = bench.consume(RESERVING, 10).await;
    let taken = bench.take(&mut consumer, 1).await;
    assert_eq!(envelope(&taken[0]).id, command.id);
    bench.assert_depth(STOCK_PLACED, 0).await;
    bench.assert_depth(MAIL_PLACED, 0).await;
}

/// Only the unroutable command of a batch is refused, and results keep the order of the messages.
pub async fn a_command_without_a_queue_is_unroutable(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let messages = vec![
        bench.message(RESERVE),
        bench.message(UNHEARD),
        bench.message(PLACED),
    ];
    let results = bench.within(bench.transport.publish(messages)).await;
    assert_eq!(
        results,
        [Ok(()), Err(Refused::Unroutable), Ok(())],
        "results keep the order of the messages"
    );
    bench.assert_depth(RESERVING, 1).await;
}

/// An event without a queue is confirmed; otherwise it would stay in the outbox for ever.
pub async fn an_event_without_a_queue_is_confirmed(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    bench.publish(vec![bench.message(IGNORED)]).await;
}

/// All attributes and the body are delivered unchanged, set or not.
pub async fn a_message_is_delivered_unchanged(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let full = Envelope {
        key: "k\"\u{1F426}".into(),
        causation: Some(bench.runtime.id().into()),
        sequence: Some(3),
        operation: Some("refund/7".into()),
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
            .parse()
            .ok(),
        propagation: Propagation::new(Some("vendor=1,other=2"), Some("tenant=7;a=b")),
        signature: Some(crate::Signature::new([0xa5; 64])),
        body: Bytes::from(vec![b'x'; 256 * 1024]),
        ..bench.message(RESERVE)
    };
    let empty = Envelope {
        body: Bytes::new(),
        key: String::new(),
        ..bench.message(RESERVE)
    };
    bench.publish(vec![full.clone(), empty.clone()]).await;
    let mut consumer = bench.consume(RESERVING, 10).await;
    let taken = bench.take(&mut consumer, 2).await;
    for message in [full, empty] {
        assert!(
            taken.iter().any(|delivery| *envelope(delivery) == message),
            "delivered unchanged: {:?}",
            message.id
        );
    }
}

/// Bodies up to [`BODY_MAX`], larger than a frame and than socket buffers, between small ones.
pub async fn large_messages_are_delivered_unchanged(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let sizes = [2, 16 << 10, 300 << 10, BODY_MAX, 2];
    let sent = sizes.map(|size| Envelope {
        body: Bytes::from(vec![b'7'; size]),
        ..bench.message(RESERVE)
    });
    bench.publish(sent.to_vec()).await;
    let mut consumer = bench.consume(RESERVING, 10).await;
    let taken = bench.take(&mut consumer, sent.len()).await;
    for message in sent {
        let arrived = taken.iter().map(envelope).find(|it| it.id == message.id);
        assert!(
            arrived.is_some_and(|it| it.body == message.body),
            "delivered unchanged"
        );
    }
}

/// A consumer that already waits receives a message that is published later.
pub async fn a_waiting_consumer_is_woken(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let mut consumer = bench.consume(RESERVING, 10).await;
    let message = bench.message(RESERVE);
    let (publisher, late) = (bench.clone(), message.clone());
    bench.runtime.spawn(Box::pin(async move {
        publisher.runtime.sleep(A_WHILE).await;
        publisher.publish(vec![late]).await;
    }));
    let taken = bench.take(&mut consumer, 1).await;
    assert_eq!(taken[0].envelope, Ok(message));
    assert!(!taken[0].redelivered, "this is the first delivery");
}

/// Messages in queues survive a restart.
pub async fn undelivered_messages_survive_a_restart(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let messages = bench.messages(PLACED, 3);
    bench.publish(messages.clone()).await;
    let bench = bench.reopen(&fixture).await;
    for queue in [STOCK_PLACED, MAIL_PLACED] {
        let mut consumer = bench.consume(queue, 10).await;
        let taken = bench.take(&mut consumer, 3).await;
        assert_eq!(delivered(&taken), ids(&messages));
    }
}

/// A consumer has at most `prefetch` unacknowledged deliveries.
pub async fn no_more_than_the_prefetch_is_delivered(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let messages = bench.messages(RESERVE, 5);
    bench.publish(messages.clone()).await;
    let mut consumer = bench.consume(RESERVING, 2).await;
    let first = bench.take(&mut consumer, 2).await;
    bench.assert_quiet(&mut consumer).await;
    bench.settle(RESERVING, &mut consumer, &first[..1]).await;
    let second = bench.take(&mut consumer, 1).await;
    bench.assert_quiet(&mut consumer).await;
    bench
        .settle(
            RESERVING,
            &mut consumer,
            &[&first[1..], &second[..]].concat(),
        )
        .await;
    let third = bench.take(&mut consumer, 2).await;
    assert_eq!(delivered(&[first, second, third].concat()), ids(&messages));
}

/// `requeue` returns exactly the given deliveries to the queue.
pub async fn requeued_deliveries_are_redelivered(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    bench.publish(bench.messages(RESERVE, 3)).await;
    let mut consumer = bench.consume(RESERVING, 3).await;
    let taken = bench.take(&mut consumer, 3).await;
    consumer.settler().requeue(&[taken[0].tag, taken[2].tag]);
    let again = bench.take(&mut consumer, 2).await;
    assert_eq!(
        delivered(&again),
        delivered(&[taken[0].clone(), taken[2].clone()])
    );
    bench.assert_quiet(&mut consumer).await;
    bench
        .settle(
            RESERVING,
            &mut consumer,
            &[&again[..], &taken[1..2]].concat(),
        )
        .await;
    bench.assert_depth(RESERVING, 0).await;
}

/// Dropping the future of `next` at any moment loses no delivery.
pub async fn a_cancelled_wait_loses_no_delivery(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let messages = bench.messages(RESERVE, 20);
    let mut consumer = bench.consume(RESERVING, 100).await;
    let mut taken = Vec::new();
    let mut waiting = messages.iter();
    while taken.len() < 20 {
        bench
            .publish(waiting.next().cloned().into_iter().collect())
            .await;
        let limit = bench.runtime.jitter(A_WHILE / 20);
        if let Some(deliveries) = bench.runtime.timeout(limit, consumer.next()).await {
            taken.extend(deliveries.expect("the consumer is open"));
        }
    }
    assert_eq!(delivered(&taken), ids(&messages));
}

/// A consumer whose opening was cancelled at any step keeps no message from the next one.
pub async fn a_cancelled_consume_takes_no_delivery(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    for step in 0..12 {
        let limit = A_WHILE / 4_000 * (1 << step);
        let consuming = bench.transport.consume(RESERVING, 100);
        drop(bench.runtime.timeout(limit, consuming).await);
    }
    let messages = bench.messages(RESERVE, 20);
    bench.publish(messages.clone()).await;
    let mut consumer = bench.consume(RESERVING, 100).await;
    let taken = bench.take(&mut consumer, 20).await;
    assert_eq!(delivered(&taken), ids(&messages));
}

/// Two consumers share the messages, and the second receives what the first had not acknowledged.
pub async fn two_consumers_share_a_queue(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let messages = bench.messages(RESERVE, 6);
    let mut one = bench.consume(RESERVING, 3).await;
    let mut two = bench.consume(RESERVING, 3).await;
    bench.publish(messages.clone()).await;
    let (first, second) = (bench.take(&mut one, 3).await, bench.take(&mut two, 3).await);
    let taken = [&first[..], &second[..]].concat();
    assert_eq!(delivered(&taken), ids(&messages));
    let mut tags: Vec<_> = taken.iter().map(|delivery| delivery.tag).collect();
    tags.sort_unstable();
    tags.dedup();
    assert_eq!(tags.len(), 6, "tags are unique within the process");
    drop(one);
    bench.settle(RESERVING, &mut two, &second).await;
    let again = bench.take(&mut two, 3).await;
    assert_eq!(delivered(&again), delivered(&first));
}

/// A queue whose consumer acknowledges nothing does not delay another queue.
pub async fn a_slow_queue_does_not_delay_another(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let mut slow = bench.consume(STOCK_PLACED, 1).await;
    let mut quick = bench.consume(MAIL_PLACED, 1).await;
    bench.publish(bench.messages(PLACED, 5)).await;
    bench.take(&mut slow, 1).await;
    for _ in 0..5 {
        let taken = bench.take(&mut quick, 1).await;
        bench.settle(MAIL_PLACED, &mut quick, &taken).await;
    }
    bench.assert_depth(MAIL_PLACED, 0).await;
    bench.assert_depth(STOCK_PLACED, 5).await;
}

/// `depth` counts waiting messages and unacknowledged deliveries of this process.
pub async fn the_depth_counts_waiting_and_unacknowledged_messages(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    bench.assert_depth(RESERVING, 0).await;
    bench.publish(bench.messages(RESERVE, 5)).await;
    bench.assert_depth(RESERVING, 5).await;
    let mut consumer = bench.consume(RESERVING, 2).await;
    let taken = bench.take(&mut consumer, 2).await;
    bench.assert_depth(RESERVING, 5).await;
    bench.settle(RESERVING, &mut consumer, &taken).await;
    bench.assert_depth(RESERVING, 3).await;
}

/// A delivery that was settled by parking it leaves its queue.
pub async fn a_parked_delivery_leaves_its_queue(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    bench.publish(vec![bench.message(RESERVE)]).await;
    let mut consumer = bench.consume(RESERVING, 10).await;
    let taken = bench.take(&mut consumer, 1).await;
    let parking = Unit {
        writes: vec![put("parked", "m")],
        ..bench.settling(RESERVING, &taken[0])
    };
    assert_eq!(bench.commit(parking).await, Outcome::Committed);
    consumer.settler().acknowledge(&[taken[0].tag]);
    bench.assert_depth(RESERVING, 0).await;
    drop(consumer);
    let mut consumer = bench.consume(RESERVING, 10).await;
    bench.assert_quiet(&mut consumer).await;
}

/// Six thousand messages, more than any window in memory contains.
pub async fn thousands_of_messages_are_all_delivered(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let messages = bench.messages(RESERVE, 6000);
    for chunk in messages.chunks(500) {
        bench.publish(chunk.to_vec()).await;
    }
    let mut consumer = bench.consume(RESERVING, 256).await;
    let mut taken = Vec::new();
    while taken.len() < messages.len() {
        let deliveries = bench
            .within(consumer.next())
            .await
            .expect("the consumer is open");
        bench.settle(RESERVING, &mut consumer, &deliveries).await;
        taken.extend(deliveries);
    }
    assert_eq!(delivered(&taken), ids(&messages));
    bench.assert_depth(RESERVING, 0).await;
}

/// Returns the ids of deliveries in their order.
fn in_order(deliveries: &[Delivery]) -> Vec<MessageId> {
    let messages = deliveries.iter().map(envelope);
    messages.map(|message| message.id).collect()
}

/// Redelivered messages keep their place in an ordered queue.
pub async fn an_ordered_queue_keeps_the_order_of_publishing(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let messages = bench.messages(MOVED, 20);
    let mut sent: Vec<_> = messages.iter().map(|message| message.id).collect();
    for chunk in messages.chunks(7) {
        bench.publish(chunk.to_vec()).await;
    }
    let mut consumer = bench.consume(STOCK_MOVED, 8).await;
    let taken = bench.take(&mut consumer, 8).await;
    assert_eq!(in_order(&taken), sent[..8]);
    let settled = [taken[1].clone(), taken[4].clone()];
    bench.settle(STOCK_MOVED, &mut consumer, &settled).await;
    bench.assert_depth(STOCK_MOVED, 18).await;
    drop(consumer);
    sent.remove(4);
    sent.remove(1);
    let mut consumer = bench.consume(STOCK_MOVED, 100).await;
    let again = bench.take(&mut consumer, 18).await;
    assert_eq!(
        in_order(&again),
        sent,
        "redelivered messages keep their places"
    );
}

/// The second consumer of an ordered queue waits, and takes over where the first ended.
pub async fn an_ordered_queue_has_one_consumer_at_a_time(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let messages = bench.messages(MOVED, 6);
    let sent: Vec<_> = messages.iter().map(|message| message.id).collect();
    let mut one = bench.consume(STOCK_MOVED, 3).await;
    let mut two = bench.consume(STOCK_MOVED, 3).await;
    bench.publish(messages).await;
    let taken = bench.take(&mut one, 3).await;
    bench.assert_quiet(&mut two).await;
    bench.settle(STOCK_MOVED, &mut one, &taken[..1]).await;
    assert_eq!(in_order(&bench.take(&mut one, 1).await), sent[3..4]);
    bench.assert_quiet(&mut two).await;
    drop(one);
    let taken = bench.take(&mut two, 3).await;
    assert_eq!(in_order(&taken), sent[1..4], "the next consumer continues");
    bench.settle(STOCK_MOVED, &mut two, &taken).await;
    assert_eq!(in_order(&bench.take(&mut two, 2).await), sent[4..]);
}
