//! A memory or disk alarm: the broker blocks publishers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use wingbeat_core::conformance::{Bench, MAIL_PLACED, PLACED, RESERVE, RESERVING};
use wingbeat_core::{Envelope, Transport as _};
use wingbeat_servers::RabbitMq as Server;

use crate::traffic::{bench, config, disturb, publish, until};

/// The number of messages to publish during the alarm, of [`BODY`] bytes each. Buffered, they would
/// arrive in the queue afterwards.
const ATTEMPTS: usize = 500;
const BODY: usize = 64 << 10;

fn large(bench: &Bench) -> Envelope {
    Envelope {
        body: Bytes::from(vec![b'x'; BODY]),
        ..bench.message(RESERVE)
    }
}

fn while_blocked(block: &'static [&'static str], unblock: &'static [&'static str]) {
    disturb(|server| async move {
        let mut config = config(&server);
        let (_, patient) = bench(&config).await;
        config.confirm_timeout = Duration::from_secs(2);
        let (bench, transport) = bench(&config).await;
        publish(&patient, bench.messages(PLACED, 20)).await;
        control(&server, block).await;
        let mut accepted = 0;
        // The broker blocks a connection only when something is published on it.
        let refused = async || {
            accepted += 1;
            drop(transport.publish(vec![large(&bench)]).await);
            matches!(transport.ping().await, Err(why) if why.code() == "broker_blocked")
        };
        until("the broker blocks publishers", refused).await;
        let start = Instant::now();
        for _ in 0..ATTEMPTS {
            let answers = transport.publish(vec![large(&bench)]).await;
            assert!(answers[0].is_err(), "no message is confirmed");
        }
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "publishing fails at once"
        );
        // Consuming and acknowledging continue.
        let mut consumer = bench.consume(MAIL_PLACED, 5).await;
        for _ in 0..4 {
            let deliveries = bench.take(&mut consumer, 5).await;
            let tags: Vec<_> = deliveries.iter().map(|delivery| delivery.tag).collect();
            consumer.settler().acknowledge(&tags);
        }
        bench.assert_depth(MAIL_PLACED, 0).await;
        control(&server, unblock).await;
        until("the broker accepts messages", async || {
            transport.ping().await.is_ok()
        })
        .await;
        publish(&patient, vec![large(&bench)]).await;
        let waiting = transport.depth(RESERVING).await.unwrap();
        assert!(
            waiting <= accepted + 1,
            "{waiting} messages in the queue: refused ones were buffered"
        );
    });
}

async fn control(server: &Arc<Server>, words: &'static [&'static str]) {
    let server = Arc::clone(server);
    let done = tokio::task::spawn_blocking(move || drop(server.control(words)));
    done.await.unwrap();
}

#[test]
fn a_memory_alarm_is_reported_and_no_message_is_buffered() {
    while_blocked(
        &["set_vm_memory_high_watermark", "0"],
        &["set_vm_memory_high_watermark", "0.4"],
    );
}

#[test]
fn a_disk_alarm_is_reported_and_no_message_is_buffered() {
    while_blocked(
        &["set_disk_free_limit", "100000GB"],
        &["set_disk_free_limit", "50MB"],
    );
}
