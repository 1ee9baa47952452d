//! Messages that cannot be handled become dead letters, and do not delay others.

use lapin::options::{BasicPublishOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel};
use wingbeat_core::conformance::Bench;
use wingbeat_core::envelope::BODY_MAX;

use crate::conformance::{block_on, server};
use crate::topology::by_hand;
use crate::traffic::{config, publish, until};
use crate::world::{METERS, MeterRead, Note, Process, READ, World, meters};

/// Publishes with the AMQP client, as a foreign publisher does.
async fn send(channel: &Channel, exchange: &str, headers: &[(&str, &str)], body: &[u8]) {
    let mut table = FieldTable::default();
    for (name, value) in headers {
        table.insert((*name).into(), AMQPValue::LongString((*value).into()));
    }
    let properties = BasicProperties::default().with_headers(table);
    let options = BasicPublishOptions::default();
    let sent = channel
        .basic_publish(
            exchange.into(),
            "meter.read.v1".into(),
            options,
            body,
            properties,
        )
        .await;
    sent.unwrap();
}

#[test]
fn an_invalid_foreign_message_is_dead_lettered_with_its_reason() {
    block_on(async {
        let world = World::new(config(server()));
        let process = world.start(meters()).await;
        let (_connection, channel) = by_hand().await;
        let exchange = format!("{}wingbeat.events", world.config.namespace);
        let (id, source) = (("cloudEvents:id", "7"), ("cloudEvents:source", "crm"));
        let good = br#"{"meter":"a","number":1}"#;
        send(&channel, &exchange, &[], good).await;
        let large = vec![b' '; BODY_MAX + 1];
        send(&channel, &exchange, &[id, source], &large).await;
        let next = ("cloudEvents:type", "meter.read.v2");
        let id = ("cloudEvents:id", "8");
        send(&channel, &exchange, &[id, source, next], good).await;
        let other = ("cloudEvents:type", "meter.sold.v1");
        let id = ("cloudEvents:id", "9");
        send(&channel, &exchange, &[id, source, other], good).await;
        let id = ("cloudEvents:id", "10");
        send(&channel, &exchange, &[id, source], b"{\"meter\":").await;
        let id = ("cloudEvents:id", "11");
        send(&channel, &exchange, &[id, source], good).await;
        let reasons = process.reasons(5).await;
        let expected = [
            "too_large",
            "undecodable",
            "undecodable",
            "unknown_type",
            "unknown_version",
        ];
        assert_eq!(reasons, expected);
        process.until_kept("a", 1).await;
        let letters = process.running.dead_letters(METERS).await.unwrap();
        assert!(
            letters
                .iter()
                .any(|it| it.error.contains(&BODY_MAX.to_string()))
        );
        world.bench(&process).assert_depth(READ, 0).await;
    });
}

#[test]
fn a_handler_that_sends_too_large_a_message_has_no_effect() {
    block_on(async {
        let world = World::new(config(server()));
        let process = world.start(meters().large_bodies(None)).await;
        let note = |size| Note {
            meter: "a".into(),
            size,
        };
        let (large, small) = (note(BODY_MAX), note(BODY_MAX / 2));
        let messages = vec![world.message(&large), world.message(&small)];
        publish(&process.transport, messages).await;
        assert_eq!(process.reasons(1).await, ["message_too_large"]);
        until("the smaller one is handled", async || {
            process.log("a").await.notes == 1
        })
        .await;
        let outbox = wingbeat_core::Store::outbox(&*world.model.store).unwrap();
        until("the outbox is empty", async || {
            outbox.waiting("meters.noted.v1").await.unwrap() == 0
        })
        .await;
    });
}

/// Consumes and drops the consumer without an acknowledgement, until the broker dead-letters the
/// message.
async fn crash_until_dead_lettered(bench: &Bench, process: &Process) {
    until("the message is dead-lettered", async || {
        let mut consumer = bench.consume(READ, 1).await;
        let limit = std::time::Duration::from_millis(500);
        let received = tokio::time::timeout(limit, consumer.next()).await;
        drop((consumer, received));
        !process
            .running
            .dead_letters(METERS)
            .await
            .unwrap()
            .is_empty()
    })
    .await;
}

/// Every consumer of the message crashes. The broker dead-letters the message, and the service
/// stores it.
#[test]
fn a_message_beyond_the_delivery_limit_is_a_dead_letter_that_can_be_retried() {
    block_on(async {
        let mut config = config(server());
        config.delivery_limit = 2;
        let world = World::new(config);
        let process = world.start(meters()).await;
        let read = &process.running.subscriptions;
        let read = read.iter().find(|it| it.queue == READ).unwrap().name();
        let paused = process.running.pause(METERS.as_str(), read).await;
        assert!(paused.unwrap());
        let bench = world.bench(&process);
        let (_connection, channel) = by_hand().await;
        let queue = format!("{}{READ}", world.config.namespace);
        until("the subscription has no consumer", async || {
            let there = QueueDeclareOptions {
                passive: true,
                ..QueueDeclareOptions::default()
            };
            let queue = channel.queue_declare(queue.as_str().into(), there, FieldTable::default());
            queue.await.unwrap().consumer_count() == 0
        })
        .await;
        let message = MeterRead {
            meter: "a".into(),
            number: 1,
        };
        publish(&process.transport, vec![world.message(&message)]).await;
        crash_until_dead_lettered(&bench, &process).await;
        assert_eq!(process.reasons(1).await, ["delivery_limit"]);
        let letter = &process.running.dead_letters(METERS).await.unwrap()[0];
        assert_eq!(letter.subscription, READ.as_str());
        assert_eq!(letter.kind, "meter.read.v1");
        let resumed = process.running.resume(METERS.as_str(), read).await;
        assert!(resumed.unwrap());
        let retried = process.running.retry_dead_letter(METERS, letter.id).await;
        assert!(retried.unwrap());
        process.until_kept("a", 1).await;
        assert_eq!(process.running.dead_letters(METERS).await.unwrap().len(), 0);
    });
}

/// The subscription was removed from the service, and its queue still exists.
#[test]
fn a_dead_letter_of_a_removed_subscription_names_that_reason() {
    block_on(async {
        let mut config = config(server());
        config.delivery_limit = 1;
        let world = World::new(config);
        let earlier = world.start(meters()).await;
        earlier.running.drain().await;
        let bench = world.bench(&earlier);
        let message = MeterRead {
            meter: "a".into(),
            number: 1,
        };
        publish(&earlier.transport, vec![world.message(&message)]).await;
        let without = wingbeat::App::new().service(wingbeat::Service::new("meters").on(nothing));
        let process = world.start(without).await;
        crash_until_dead_lettered(&bench, &process).await;
        assert_eq!(process.reasons(1).await, ["unknown_subscription"]);
        let letter = &process.running.dead_letters(METERS).await.unwrap()[0];
        let retried = process.running.retry_dead_letter(METERS, letter.id).await;
        assert_eq!(retried.unwrap_err().code(), "unknown_subscription");
    });
}

async fn nothing(_: Note) -> wingbeat::Result<()> {
    Ok(())
}
