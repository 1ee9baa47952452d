//! The register: a queue with one message that names every queue that a process has declared.
//!
//! AMQP cannot list queues. From the register, a process finds those that an earlier release has
//! declared and no subscription has any more. It reads the message and returns it to the queue;
//! whoever declares other queues replaces it. Processes that start at the same time may leave
//! several messages, or not see one that another process is reading. So a register is always the
//! union of all messages, and the next process joins them.

use std::collections::{BTreeMap, BTreeSet};

use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection};
use serde::{Deserialize, Serialize};
use wingbeat_core::{Error, Result};

use crate::access::Access;
use crate::connection::{ACCESS_REFUSED, NOT_FOUND, reply_code, unavailable};
use crate::topology::{DeclaredQueue, Names, open, text};

/// A persistent message.
const PERSISTENT: u8 = 2;

/// The names of queues, each with its bindings: names of exchanges and routing keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Register {
    pub(crate) queues: BTreeMap<String, BTreeSet<(String, String)>>,
}

impl Register {
    /// Adds queues and bindings. It keeps bindings that a queue has no more: the broker does.
    pub(crate) fn add(&mut self, queues: &[DeclaredQueue]) {
        for queue in queues {
            let bindings = self.queues.entry(queue.name.clone()).or_default();
            bindings.extend(queue.bindings.iter().cloned());
        }
    }

    fn join(&mut self, other: Self) {
        for (queue, bindings) in other.queues {
            self.queues.entry(queue).or_default().extend(bindings);
        }
    }
}

/// The arguments of the queue. Each reader returns the message, so there is practically no limit of
/// deliveries; RabbitMQ 4 has one by default.
pub(crate) fn arguments() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongInt(i32::MAX));
    arguments
}

/// The register as it was read. The messages return to the queue when it is dropped or closed.
pub(crate) struct Reading {
    pub(crate) register: Register,
    channel: Channel,
    queue: String,
    /// The last delivery tag of the messages that were read.
    last: Option<u64>,
    messages: usize,
    /// The user may declare queues, and so may write the register.
    pub(crate) is_writable: bool,
}

/// Declares the register, if the user may, and reads it.
pub(crate) async fn read(connection: &Connection, names: &Names) -> Result<Reading> {
    let queue = names.register();
    let mut channel = open(connection).await?;
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let declared = channel.queue_declare(queue.as_str().into(), durable, arguments());
    let is_writable = match declared.await {
        Ok(_) => true,
        Err(why) if reply_code(&why) == Some(ACCESS_REFUSED) => {
            channel = open(connection).await?;
            false
        }
        Err(why) => return Err(unavailable(&why)),
    };
    let mut reading = Reading {
        register: Register::default(),
        channel,
        queue,
        last: None,
        messages: 0,
        is_writable,
    };
    reading.get_all().await?;
    Ok(reading)
}

impl Reading {
    async fn get_all(&mut self) -> Result<()> {
        loop {
            let queue = self.queue.as_str();
            let got = self
                .channel
                .basic_get(queue.into(), BasicGetOptions::default());
            let message = match got.await {
                Ok(Some(message)) => message,
                Ok(None) => return Ok(()),
                // A user that may not declare it, and definitions of an earlier release.
                Err(why) if matches!(reply_code(&why), Some(NOT_FOUND | ACCESS_REFUSED)) => {
                    return Ok(());
                }
                Err(why) => return Err(unavailable(&why)),
            };
            self.last = Some(message.delivery.delivery_tag);
            self.messages += 1;
            match serde_json::from_slice(&message.delivery.data) {
                Ok(register) => self.register.join(register),
                Err(why) => tracing::warn!(queue, "a message is no register of queues: {why}"),
            }
        }
    }

    /// Replaces the register, if it changes.
    pub(crate) async fn replace(self, register: &Register, access: &Access) -> Result<()> {
        if !self.is_writable || (self.messages == 1 && self.register == *register) {
            return self.close().await;
        }
        let channel = open(access.publishing().await?).await?;
        let body = serde_json::to_vec(register).expect("a register always encodes");
        let published = async {
            channel
                .confirm_select(ConfirmSelectOptions::default())
                .await?;
            let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
            let options = BasicPublishOptions {
                mandatory: true,
                ..BasicPublishOptions::default()
            };
            let queue = self.queue.as_str();
            let confirm = channel
                .basic_publish("".into(), queue.into(), options, &body, properties)
                .await?;
            confirm.await
        };
        let confirmed = published.await.map_err(|e| unavailable(&e))?;
        if !confirmed.is_ack() || confirmed.take_message().is_some() {
            return Err(Error::retry(
                "broker_unavailable",
                "RabbitMQ did not accept the register of queues",
            ));
        }
        let _ = channel.close(200, "done".into()).await;
        if let Some(last) = self.last {
            let all = BasicAckOptions { multiple: true };
            let acknowledged = self.channel.basic_ack(last, all).await;
            acknowledged.map_err(|e| unavailable(&e))?;
        }
        self.close().await
    }

    /// Returns the messages to the queue.
    pub(crate) async fn close(self) -> Result<()> {
        if !self.channel.status().connected() {
            return Ok(());
        }
        let closed = self.channel.close(200, "done".into()).await;
        closed.map_err(|e| unavailable(&e))
    }
}
