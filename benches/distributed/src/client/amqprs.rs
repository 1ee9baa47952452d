//! Raw amqprs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use amqprs::callbacks::{ChannelCallback, DefaultChannelCallback};
use amqprs::channel::{
    BasicAckArguments, BasicConsumeArguments, BasicPublishArguments, BasicQosArguments, Channel,
    ConfirmSelectArguments,
};
use amqprs::connection::{Connection, OpenConnectionArguments};
use amqprs::error::Error;
use amqprs::{Ack, BasicProperties, Cancel, CloseChannel, Nack, Return};
use async_trait::async_trait;
use tokio::sync::Notify;

use crate::protocol::Commands;
use crate::workload::{Body, Job, Pace, Tally, WINDOW};

const PERSISTENT: u8 = 2;

async fn channel(url: &str) -> (Connection, Channel) {
    let port = url.rsplit(':').next().unwrap().parse().unwrap();
    let args = OpenConnectionArguments::new("127.0.0.1", port, "guest", "guest");
    let connection = Connection::open(&args).await.unwrap();
    let channel = connection.open_channel(None).await.unwrap();
    (connection, channel)
}

/// The confirmed messages. The confirms of one queue come in order, alone or for several messages.
#[derive(Default)]
struct Confirmed {
    single: AtomicU64,
    up_to: AtomicU64,
    changed: Notify,
}

impl Confirmed {
    fn count(&self) -> u64 {
        self.up_to.load(Ordering::Acquire)
    }
}

struct Confirms(Arc<Confirmed>);

#[async_trait]
impl ChannelCallback for Confirms {
    async fn close(&mut self, _: &Channel, close: CloseChannel) -> Result<(), Error> {
        panic!("the channel was closed: {close}");
    }

    async fn cancel(&mut self, _: &Channel, _: Cancel) -> Result<(), Error> {
        Ok(())
    }

    async fn flow(&mut self, _: &Channel, active: bool) -> Result<bool, Error> {
        Ok(active)
    }

    async fn publish_ack(&mut self, _: &Channel, ack: Ack) {
        let confirmed = &self.0;
        confirmed.single.fetch_add(1, Ordering::AcqRel);
        confirmed
            .up_to
            .fetch_max(ack.delivery_tag(), Ordering::AcqRel);
        confirmed.changed.notify_one();
    }

    async fn publish_nack(&mut self, _: &Channel, _: Nack) {
        panic!("the broker refused a message");
    }

    async fn publish_return(&mut self, _: &Channel, _: Return, _: BasicProperties, _: Vec<u8>) {
        panic!("the broker returned a message");
    }
}

pub(super) async fn produce(job: &Job, pace: Pace) {
    let (_connection, channel) = channel(&job.broker).await;
    let confirmed = Arc::<Confirmed>::default();
    let callback = Confirms(Arc::clone(&confirmed));
    channel.register_callback(callback).await.unwrap();
    let select = ConfirmSelectArguments::new(false);
    channel.confirm_select(select).await.unwrap();
    let mut commands = Commands::start().await;
    let mut properties = BasicProperties::default();
    properties
        .with_delivery_mode(PERSISTENT)
        .with_content_type("application/json");
    let (mut schedule, mut sent) = (pace.start(), 0);
    while schedule.next().await {
        while sent - confirmed.count() >= WINDOW as u64 {
            confirmed.changed.notified().await;
        }
        sent += 1;
        let to = BasicPublishArguments::new("", &job.queue);
        let published = channel.basic_publish(properties.clone(), Body::bytes(sent), to);
        published.await.unwrap();
    }
    while confirmed.count() < sent {
        confirmed.changed.notified().await;
    }
    schedule.finish(sent);
    commands.end().await;
}

pub(super) async fn consume(job: &Job) {
    let (_connection, channel) = channel(&job.broker).await;
    channel
        .register_callback(DefaultChannelCallback)
        .await
        .unwrap();
    let commands = Commands::start().await;
    let tally = Arc::<Tally>::default();
    drop(tokio::spawn(Arc::clone(&tally).finish(commands)));
    let prefetch = u16::try_from(WINDOW).unwrap();
    let qos = BasicQosArguments::new(0, prefetch, false);
    channel.basic_qos(qos).await.unwrap();
    let consume = BasicConsumeArguments::new(&job.queue, "");
    let (_tag, mut deliveries) = channel.basic_consume_rx(consume).await.unwrap();
    while let Some(delivery) = deliveries.recv().await {
        tally.receive(&delivery.content.unwrap());
        let tag = delivery.deliver.unwrap().delivery_tag();
        let done = channel.basic_ack(BasicAckArguments::new(tag, false));
        done.await.unwrap();
    }
}
