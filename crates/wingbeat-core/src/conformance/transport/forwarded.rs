//! Messages that are forwarded to one queue.

use std::sync::Arc;

use super::in_order;
use crate::conformance::{
    Bench, Fixture, MOVED, PARTITION, PLACED, RESERVE, STOCK_MOVED, STOCK_PLACED, envelope,
};
use crate::transport::Refused;
use crate::{Dialog, Envelope, Name, Timestamp};

async fn forward(bench: &Bench, queue: Name, messages: Vec<Envelope>) -> Vec<Result<(), Refused>> {
    bench.within(bench.transport.forward(queue, messages)).await
}

/// A forwarded message reaches the queue that is named, unchanged, and none that is bound to its
/// type.
pub async fn a_forwarded_message_reaches_only_its_queue(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let request = Envelope {
        operation: Some("moving".into()),
        sequence: Some(7),
        dialog: Some(Dialog::Request {
            reply_to: "wingbeat.replies.shop.none".into(),
            deadline: Timestamp::from_micros(1_764_000_000_123_456),
        }),
        ..bench.message(RESERVE)
    };
    let messages = vec![bench.message(PLACED), request];
    let results = forward(&bench, PARTITION, messages.clone()).await;
    assert_eq!(results, [Ok(()), Ok(())]);
    let mut consumer = bench.consume(PARTITION, 10).await;
    let taken = bench.take(&mut consumer, 2).await;
    let taken: Vec<_> = taken.iter().map(|it| envelope(it).clone()).collect();
    assert_eq!(taken, messages);
    bench.assert_depth(STOCK_PLACED, 0).await;
    bench.assert_depth(STOCK_MOVED, 0).await;
}

/// An ordered queue keeps the order in which messages are forwarded to it, over a restart.
pub async fn forwarded_messages_keep_their_order(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let messages = bench.messages(MOVED, 12);
    let sent: Vec<_> = messages.iter().map(|message| message.id).collect();
    for one in messages {
        assert_eq!(forward(&bench, PARTITION, vec![one]).await, [Ok(())]);
    }
    let bench = bench.reopen(&fixture).await;
    let mut consumer = bench.consume(PARTITION, 20).await;
    assert_eq!(in_order(&bench.take(&mut consumer, 12).await), sent);
}

/// A message to a queue that does not exist is refused.
pub async fn a_message_forwarded_to_no_queue_is_unroutable(fixture: Arc<dyn Fixture>) {
    let bench = Bench::open(&fixture).await;
    let nowhere = Name::new("stock.moved.p63");
    for kind in [PLACED, RESERVE] {
        let results = forward(&bench, nowhere, vec![bench.message(kind)]).await;
        assert_eq!(results, [Err(Refused::Unroutable)]);
    }
}
