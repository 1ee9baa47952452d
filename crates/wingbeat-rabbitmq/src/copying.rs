//! Copies the messages of a queue through an exchange, with confirms.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::FutureExt as _;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel};
use tokio::time::Instant;
use wingbeat_core::{Error, Result};

use crate::access::{Access, in_use};
use crate::connection::{timed_out, unavailable};
use crate::topology::open;

/// The pause after which a consumer without deliveries asks whether the queue is empty.
const IDLE: Duration = Duration::from_millis(50);
/// The longest wait for deliveries of a queue that is not empty, and for consumers to leave.
pub(crate) const STUCK: Duration = Duration::from_secs(30);
/// The messages that are moved at once.
const BATCH: u16 = 256;
/// The largest number of messages in an ordered queue: all are unacknowledged at the same time. It
/// is less than the largest prefetch, and without one RabbitMQ delivers at most 2,000.
const ORDERED_MAX: u64 = 65_000;
/// Headers that the broker adds to deliveries.
const OF_DELIVERY: [&str; 2] = ["x-delivery-count", "x-acquired-count"];

/// The moment at which messages are acknowledged in their source.
#[derive(Clone, Copy, PartialEq)]
enum Acknowledge {
    /// Each batch, once its copies are confirmed.
    Batches,
    /// All at once, by the caller.
    Together,
}

/// Messages that were copied from a queue and are not acknowledged.
pub(crate) struct Copied {
    channel: Channel,
    /// Dropped after the channel was closed: it cancels itself.
    stream: lapin::Consumer,
    last: Option<u64>,
    pub(crate) messages: u64,
}

/// The way of the copies.
pub(crate) struct Copying<'a> {
    pub(crate) access: &'a Access,
    /// The exchange, which is bound to the queue that gets the copies.
    pub(crate) exchange: &'a str,
}

impl Copying<'_> {
    /// Moves messages until the queue is empty.
    pub(crate) async fn drain(&self, source: &str) -> Result<u64> {
        let copied = self.copy(source, Acknowledge::Batches).await?;
        let messages = copied.messages;
        copied.acknowledge().await?;
        Ok(messages)
    }

    /// Copies all messages of an ordered queue, and leaves it to the caller to acknowledge them at
    /// once.
    pub(crate) async fn copy_in_order(&self, source: &str) -> Result<Copied> {
        self.copy(source, Acknowledge::Together).await
    }

    /// Copies messages through the exchange until no more wait in the queue.
    async fn copy(&self, source: &str, acknowledge: Acknowledge) -> Result<Copied> {
        let consuming = &self.access.consuming;
        let publishing = open(&self.access.publishing).await?;
        let select = ConfirmSelectOptions::default();
        let selected = publishing.confirm_select(select).await;
        selected.map_err(|e| unavailable(&e))?;
        let channel = open(consuming).await?;
        let prefetch = if acknowledge == Acknowledge::Together {
            let waiting = self.access.counts(source).await?.map_or(0, |it| it.waiting);
            if waiting > ORDERED_MAX {
                let text = format!(
                    "the ordered queue `{source}` has {waiting} messages, more than {ORDERED_MAX}"
                );
                return Err(Error::reject("topology_in_use", text));
            }
            u16::MAX
        } else {
            BATCH
        };
        let qos = channel.basic_qos(prefetch, BasicQosOptions::default());
        qos.await.map_err(|e| unavailable(&e))?;
        let consumed = channel.basic_consume(
            source.into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        );
        let mut copied = Copied {
            stream: consumed.await.map_err(|e| unavailable(&e))?,
            channel,
            last: None,
            messages: 0,
        };
        let (mut active, mut is_empty) = (Instant::now(), false);
        loop {
            let next = tokio::time::timeout(IDLE, copied.stream.next()).await;
            let Ok(next) = next else {
                let Some(counts) = self.access.counts(source).await? else {
                    return Err(gone(source));
                };
                // Twice: the last deliveries may still be on their way.
                if counts.waiting == 0 && is_empty {
                    let _ = publishing.close(200, "done".into()).await;
                    return Ok(copied);
                }
                is_empty = counts.waiting == 0;
                if counts.consumers > 1 || active.elapsed() > STUCK {
                    return Err(in_use(source, counts.consumers.saturating_sub(1)));
                }
                continue;
            };
            (active, is_empty) = (Instant::now(), false);
            let mut batch = Vec::new();
            let mut next = Some(next);
            while let Some(delivered) = next.take() {
                let delivered = delivered.ok_or_else(|| gone(source))?;
                batch.push(delivered.map_err(|e| unavailable(&e))?);
                if batch.len() < usize::from(BATCH) {
                    next = copied.stream.next().now_or_never();
                }
            }
            copied.last = batch.last().map(|it| it.delivery_tag);
            copied.messages += batch.len() as u64;
            self.publish(&publishing, batch).await?;
            if acknowledge == Acknowledge::Batches {
                copied.acknowledge_batch().await?;
            }
        }
    }

    /// Publishes copies in order, and waits until all are confirmed.
    async fn publish(&self, channel: &Channel, batch: Vec<Delivery>) -> Result<()> {
        let published = async {
            let mut confirms = Vec::with_capacity(batch.len());
            for message in batch {
                let options = BasicPublishOptions {
                    mandatory: true,
                    ..BasicPublishOptions::default()
                };
                let confirm = channel.basic_publish(
                    self.exchange.into(),
                    message.routing_key,
                    options,
                    &message.data,
                    without_delivery(message.properties),
                );
                confirms.push(confirm.await?);
            }
            let mut is_kept = true;
            for confirm in confirms {
                let confirmation = confirm.await?;
                is_kept &= confirmation.is_ack() && confirmation.take_message().is_none();
            }
            let returned = channel.wait_for_confirms().await?;
            Ok(is_kept && returned.is_empty())
        };
        let published = tokio::time::timeout(self.access.timeout, published).await;
        let published = published.map_err(|_| timed_out())?;
        if published.map_err(|e: lapin::Error| unavailable(&e))? {
            return Ok(());
        }
        let text = format!(
            "RabbitMQ did not take a message through the exchange `{}`",
            self.exchange
        );
        Err(Error::retry("broker_unavailable", text))
    }
}

impl Copied {
    async fn acknowledge_batch(&mut self) -> Result<()> {
        if let Some(last) = self.last.take() {
            let all = BasicAckOptions { multiple: true };
            let acknowledged = self.channel.basic_ack(last, all).await;
            acknowledged.map_err(|e| unavailable(&e))?;
        }
        Ok(())
    }

    /// Acknowledges all messages that are not yet acknowledged, and ends the consumer.
    pub(crate) async fn acknowledge(mut self) -> Result<()> {
        self.acknowledge_batch().await?;
        let closed = self.channel.close(200, "done".into()).await;
        closed.map_err(|e| unavailable(&e))
    }
}

/// Removes the headers that the broker has added to a delivery.
fn without_delivery(properties: BasicProperties) -> BasicProperties {
    let Some(headers) = properties.headers() else {
        return properties;
    };
    let mut kept = FieldTable::default();
    for (name, value) in headers.inner() {
        if !OF_DELIVERY.contains(&name.as_str()) {
            kept.insert(name.clone(), value.clone());
        }
    }
    properties.with_headers(kept)
}

fn gone(queue: &str) -> Error {
    let text = format!("the queue `{queue}` was deleted while its messages were moved");
    Error::retry("broker_unavailable", text)
}
