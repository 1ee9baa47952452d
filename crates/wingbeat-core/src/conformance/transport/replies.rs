//! Reply queues.

use std::sync::Arc;

use crate::conformance::{Bench, Fixture, PLACED, RESERVE, RESERVING, STOCK_PLACED, envelope};
use crate::dialog::reply_queue;
use crate::transport::Refused;
use crate::unit::Outcome;
use crate::{Consumer, Dialog, Envelope, Name, RuntimeExt as _, Timestamp, Unit};

/// Opens the reply queue of a process.
async fn open(bench: &Bench) -> (String, Box<dyn Consumer>) {
    let queue = reply_queue(Name::new("shop"), bench.runtime.id());
    let consumer = again(bench, &queue).await;
    (queue, consumer)
}

async fn again(bench: &Bench, queue: &str) -> Box<dyn Consumer> {
    let opened = bench.within(bench.transport.replies(queue, 10)).await;
    opened.expect("a process may have a reply queue")
}

fn reply(bench: &Bench, queue: &str) -> Envelope {
    Envelope {
        kind: "stock.count.reply.v1".into(),
        causation: Some(bench.runtime.id().into()),
        dialog: Some(Dialog::Reply { to: queue.into() }),
        ..bench.message(RESERVE)
    }
}

/// A reply reaches the queue that it names, unchanged, and no other.
pub async fn a_reply_reaches_only_its_queue(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let (first, mut of_first) = open(&bench).await;
    let (second, mut of_second) = open(&bench).await;
    let replies = [reply(&bench, &first), reply(&bench, &second)];
    bench.publish(replies.to_vec()).await;
    for (expected, consumer) in replies.iter().zip([&mut of_first, &mut of_second]) {
        let taken = bench.take(consumer, 1).await;
        assert_eq!(envelope(&taken[0]), expected);
        consumer.settler().acknowledge(&[taken[0].tag]);
        bench.assert_quiet(consumer).await;
    }
    bench.assert_depth(RESERVING, 0).await;
}

/// Only the reply that names no queue is refused, and results keep the order of the messages.
pub async fn a_reply_without_a_queue_is_unroutable(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let (queue, mut consumer) = open(&bench).await;
    let nowhere = reply_queue(Name::new("shop"), bench.runtime.id());
    let messages = vec![
        reply(&bench, &nowhere),
        bench.message(PLACED),
        reply(&bench, &queue),
        // Not even to a queue that exists, but is none for replies.
        reply(&bench, STOCK_PLACED.as_str()),
    ];
    let results = bench.within(bench.transport.publish(messages)).await;
    let unroutable = Err(Refused::Unroutable);
    assert_eq!(results, [unroutable.clone(), Ok(()), Ok(()), unroutable]);
    bench.take(&mut consumer, 1).await;
    bench.assert_depth(STOCK_PLACED, 1).await;
}

/// A reply queue can be opened again under its name.
pub async fn a_reply_queue_is_opened_again(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let (queue, consumer) = open(&bench).await;
    drop(consumer);
    let mut consumer = again(&bench, &queue).await;
    let expected = reply(&bench, &queue);
    bench.publish(vec![expected.clone()]).await;
    let taken = bench.take(&mut consumer, 1).await;
    assert_eq!(envelope(&taken[0]), &expected);
}

/// A reply is sent with the unit that makes it. One without a queue holds nothing up.
pub async fn a_committed_reply_is_sent(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let (queue, mut consumer) = open(&bench).await;
    let nowhere = reply_queue(Name::new("shop"), bench.runtime.id());
    let expected = reply(&bench, &queue);
    let unit = Unit {
        messages: vec![reply(&bench, &nowhere), expected.clone()],
        ..bench.unit()
    };
    assert_eq!(bench.commit(unit).await, Outcome::Committed);
    bench.relay().await;
    let taken = bench.take(&mut consumer, 1).await;
    assert_eq!(envelope(&taken[0]), &expected);
}

/// A request is delivered with its reply queue and its deadline.
pub async fn a_request_is_delivered_unchanged(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let request = Envelope {
        dialog: Some(Dialog::Request {
            reply_to: reply_queue(Name::new("shop"), bench.runtime.id()),
            deadline: Timestamp::from_micros(1_764_000_000_123_456),
        }),
        ..bench.message(RESERVE)
    };
    bench.publish(vec![request.clone()]).await;
    let mut consumer = bench.consume(RESERVING, 10).await;
    let taken = bench.take(&mut consumer, 1).await;
    assert_eq!(envelope(&taken[0]), &request);
}
