//! Raw lapin: futures held and polled together, as its speed asks for.

use std::sync::Arc;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer};

use crate::part::{Body, Job, Orders, Pace, Tally, WINDOW};

const PERSISTENT: u8 = 2;
/// As long as an id.
const ID: &str = "01890000-0000-7000-8000-000000000000";
/// Deliveries acknowledged at once, where several are.
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
    let mut orders = Orders::go().await;
    let mut under_way = FuturesUnordered::new();
    let (mut metronome, mut sent) = (pace.start(), 0);
    loop {
        while under_way.len() < WINDOW && metronome.beat().await {
            sent += 1;
            under_way.push(publish(&channel, &job.queue, sent, headers));
            if metronome.is_paced() {
                while let Some(Some(())) = under_way.next().now_or_never() {}
            }
        }
        if under_way.next().await.is_none() {
            break;
        }
    }
    metronome.done(sent);
    orders.end().await;
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

/// Attributes as CloudEvents has them, as many and as long as ours.
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
    let orders = Orders::go().await;
    let tally = Arc::<Tally>::default();
    drop(tokio::spawn(Arc::clone(&tally).until_done(orders)));
    let mut consumer = open(&channel, &job.queue).await;
    let mut acknowledged = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            delivery = consumer.next() => {
                let delivery = delivery.unwrap().unwrap();
                tally.take(&delivery.data);
                let tag = delivery.delivery_tag;
                acknowledged.push(channel.basic_ack(tag, BasicAckOptions::default()));
            }
            Some(done) = acknowledged.next(), if !acknowledged.is_empty() => done.unwrap(),
        }
    }
}

pub(super) async fn consume_multiple(job: &Job) {
    let (_connection, channel) = channel(&job.broker).await;
    let orders = Orders::go().await;
    let tally = Arc::<Tally>::default();
    drop(tokio::spawn(Arc::clone(&tally).until_done(orders)));
    let mut consumer = open(&channel, &job.queue).await;
    while let Some(first) = consumer.next().await {
        let mut last = first.unwrap();
        tally.take(&last.data);
        let mut count = 1;
        while count < MULTIPLE
            && let Some(Some(next)) = consumer.next().now_or_never()
        {
            last = next.unwrap();
            tally.take(&last.data);
            count += 1;
        }
        let all = BasicAckOptions { multiple: true };
        channel.basic_ack(last.delivery_tag, all).await.unwrap();
    }
}
