//! Raw lapin. Several futures are polled at once, for speed.

use std::sync::Arc;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer};

use crate::protocol::Commands;
use crate::workload::{Body, Job, Pace, Tally, WINDOW};

const PERSISTENT: u8 = 2;
/// A value of the length of an id.
const ID: &str = "01890000-0000-7000-8000-000000000000";
/// The most deliveries in one multiple acknowledgement.
const MULTIPLE: u64 = 64;

async fn channel(url: &str) -> (Connection, Channel) {
    let connection = Connection::connect(url, ConnectionProperties::default()).await;
    let connection = connection.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

pub(super) async fn produce(job: &Job, pace: Pace, headers: bool) {
    let (_connection, channel) = channel(&job.broker).await;
    let select = ConfirmSelectOptions::default();
    channel.confirm_select(select).await.unwrap();
    let mut commands = Commands::start().await;
    let mut pending = FuturesUnordered::new();
    let (mut schedule, mut sent) = (pace.start(), 0);
    loop {
        while pending.len() < WINDOW && schedule.next().await {
            sent += 1;
            pending.push(publish(&channel, &job.queue, sent, headers));
            if schedule.is_paced() {
                while let Some(Some(())) = pending.next().now_or_never() {}
            }
        }
        if pending.next().await.is_none() {
            break;
        }
    }
    schedule.finish(sent);
    commands.end().await;
}

async fn publish(channel: &Channel, queue: &str, number: u64, headers: bool) {
    let mut properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_content_type("application/json".into());
    if headers {
        properties = properties.with_headers(attributes());
    }
    let body = Body::bytes(number);
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish("".into(), queue.into(), options, &body, properties);
    assert!(sent.await.unwrap().await.unwrap().is_ack());
}

/// CloudEvents attributes, equal to ours in number and length.
fn attributes() -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in [
        ("cloudEvents:specversion", "1.0"),
        ("cloudEvents:id", ID),
        ("cloudEvents:source", "bench"),
        ("cloudEvents:type", "bench.noted.v1"),
        ("cloudEvents:subject", "order-000000000000"),
        ("cloudEvents:partitionkey", "order-000000000000"),
        ("cloudEvents:time", "2026-01-01T00:00:00.000000Z"),
        ("cloudEvents:correlationid", ID),
    ] {
        table.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    table
}

async fn open(channel: &Channel, queue: &str) -> Consumer {
    let prefetch = u16::try_from(WINDOW).unwrap();
    let qos = BasicQosOptions::default();
    channel.basic_qos(prefetch, qos).await.unwrap();
    let options = BasicConsumeOptions::default();
    let opened = channel.basic_consume(queue.into(), "".into(), options, FieldTable::default());
    opened.await.unwrap()
}

pub(super) async fn consume(job: &Job) {
    let (_connection, channel) = channel(&job.broker).await;
    let commands = Commands::start().await;
    let tally = Arc::<Tally>::default();
    drop(tokio::spawn(Arc::clone(&tally).finish(commands)));
    let mut consumer = open(&channel, &job.queue).await;
    let mut acknowledged = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            delivery = consumer.next() => {
                let delivery = delivery.unwrap().unwrap();
                tally.receive(&delivery.data);
                let tag = delivery.delivery_tag;
                acknowledged.push(channel.basic_ack(tag, BasicAckOptions::default()));
            }
            Some(done) = acknowledged.next(), if !acknowledged.is_empty() => done.unwrap(),
        }
    }
}

pub(super) async fn consume_multiple(job: &Job) {
    let (_connection, channel) = channel(&job.broker).await;
    let commands = Commands::start().await;
    let tally = Arc::<Tally>::default();
    drop(tokio::spawn(Arc::clone(&tally).finish(commands)));
    let mut consumer = open(&channel, &job.queue).await;
    while let Some(first) = consumer.next().await {
        let mut last = first.unwrap();
        tally.receive(&last.data);
        let mut count = 1;
        while count < MULTIPLE
            && let Some(Some(next)) = consumer.next().now_or_never()
        {
            last = next.unwrap();
            tally.receive(&last.data);
            count += 1;
        }
        let all = BasicAckOptions { multiple: true };
        channel.basic_ack(last.delivery_tag, all).await.unwrap();
    }
}
