//! Moves the messages of a queue through an exchange, with confirms.

use std::collections::BTreeSet;

use lapin::message::Delivery;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel};
use tokio::time::Instant;
use wingbeat_core::{Error, Result};

use crate::access::{Access, unbind};
use crate::connection::{timed_out, unavailable};
use crate::held::{Held, Looks};
use crate::probe::Probe;
use crate::topology::open;

/// The messages that are moved at once.
pub(crate) const BATCH: u16 = 256;
/// Headers that the broker adds to deliveries.
const OF_DELIVERY: [&str; 2] = ["x-delivery-count", "x-acquired-count"];

/// The way of the copies.
pub(crate) struct Copying<'a> {
    pub(crate) access: &'a Access,
    /// The exchange, which is bound to the queue that gets the copies.
    pub(crate) exchange: &'a str,
    /// Fails while messages are published, for an ordered queue.
    pub(crate) probe: Option<&'a Probe>,
}

impl Copying<'_> {
    /// Removes bindings of the queue, and moves messages until the queue is empty, without other
    /// consumers, and stays so. A process that starts meanwhile binds the queue again.
    pub(crate) async fn drain(
        &self,
        source: &mut Held<'_>,
        bindings: &BTreeSet<(String, String)>,
    ) -> Result<u64> {
        let publishing = open(self.access.publishing().await?).await?;
        let select = ConfirmSelectOptions::default();
        let selected = publishing.confirm_select(select).await;
        selected.map_err(|e| unavailable(&e))?;
        let unbinding = open(&self.access.consuming).await?;
        let (mut looks, mut is_bound, mut moved) = (Looks::new(Instant::now()), true, 0);
        loop {
            if let Some(probe) = self.probe {
                probe.check().await?;
            }
            if is_bound {
                for (exchange, key) in bindings {
                    unbind(&unbinding, source.queue, exchange, key).await?;
                }
                is_bound = false;
            }
            let batch = source.batch().await?;
            if batch.is_empty() {
                let look = source.look().await?;
                if looks.settled(source.queue, look, Instant::now())? {
                    break;
                }
                continue;
            }
            looks.delivered(Instant::now());
            is_bound = batch.len() < usize::from(BATCH);
            moved += batch.len() as u64;
            self.publish(&publishing, batch).await?;
            source.acknowledge().await?;
        }
        for channel in [publishing, unbinding] {
            let _ = channel.close(200, "done".into()).await;
        }
        Ok(moved)
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
                    to_publish(&message.properties),
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

/// Returns the properties of the copy of a delivery: without the headers that the broker has added,
/// and without the user. The broker closes the channel of another user that publishes the latter.
fn to_publish(delivered: &BasicProperties) -> BasicProperties {
    let mut properties = BasicProperties::default();
    macro_rules! copy {
        ($($property:ident by $set:ident),* $(,)?) => {
            $(if let Some(value) = delivered.$property().as_ref().cloned() {
                properties = properties.$set(value);
            })*
        };
    }
    copy!(
        content_type by with_content_type,
        content_encoding by with_content_encoding,
        delivery_mode by with_delivery_mode,
        priority by with_priority,
        correlation_id by with_correlation_id,
        reply_to by with_reply_to,
        expiration by with_expiration,
        message_id by with_message_id,
        timestamp by with_timestamp,
        kind by with_type,
        app_id by with_app_id,
        cluster_id by with_cluster_id,
    );
    let Some(headers) = delivered.headers() else {
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

#[cfg(test)]
mod tests {
    use lapin::types::AMQPValue;

    use super::*;

    #[test]
    fn a_copy_has_all_properties_except_those_of_the_delivery_and_its_user() {
        let mut headers = FieldTable::default();
        headers.insert("x-death".into(), AMQPValue::Boolean(true));
        let published = BasicProperties::default()
            .with_content_type("json".into())
            .with_content_encoding("utf-8".into())
            .with_delivery_mode(2)
            .with_priority(3)
            .with_correlation_id("c".into())
            .with_reply_to("r".into())
            .with_expiration("60000".into())
            .with_message_id("m".into())
            .with_timestamp(4)
            .with_type("t".into())
            .with_app_id("a".into())
            .with_cluster_id("b".into());
        let without_headers = published.clone().with_user_id("someone".into());
        assert_eq!(to_publish(&without_headers), published);

        let published = published.with_headers(headers.clone());
        headers.insert(OF_DELIVERY[0].into(), AMQPValue::LongInt(1));
        headers.insert(OF_DELIVERY[1].into(), AMQPValue::LongInt(1));
        let delivered = without_headers.with_headers(headers);
        assert_eq!(to_publish(&delivered), published);
    }
}
