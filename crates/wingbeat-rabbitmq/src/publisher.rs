//! The publisher: persistent, mandatory and confirmed messages.
//!
//! A batch has a channel to itself until the broker has confirmed or rejected each of its messages.
//! So a confirm always belongs to the batch. RabbitMQ sends a returned message before its confirm,
//! but the client attaches it to the confirm of any message of the channel; the publisher matches
//! it by message id once the batch is complete. A channel on which anything failed is not used
//! again.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation, Connection};
use uuid::Uuid;
use wingbeat_core::envelope::Unfit;
use wingbeat_core::transport::Refused;
use wingbeat_core::{Dialog, Envelope, HashSet, Kind, Name, Result, sabotage};

use crate::connection::{NOT_FOUND, reply_code, unavailable};
use crate::topology::{Names, service};
use crate::wire;

/// The number of unconfirmed messages on a channel: enough to keep a quorum queue busy, and few
/// enough to stop soon when the broker blocks the connection.
const WINDOW: usize = 512;

type Confirmed = std::result::Result<(), Refused>;

/// Channels with confirms, each used by one batch at a time.
#[derive(Default)]
pub(crate) struct Publisher {
    idle: Mutex<Vec<Channel>>,
    /// `true` if a declared queue or exchange was missing.
    topology_missing: AtomicBool,
}

/// The settings that all messages of a batch share.
pub(crate) struct BatchSettings<'a> {
    pub(crate) names: &'a Names,
    /// The partition that all messages are put into, instead of the queues of their types.
    pub(crate) only: Option<Name>,
    /// The message types with a queue: the broker must not return an event of such a type.
    pub(crate) bound: &'a HashSet<&'static str>,
    pub(crate) timeout: Duration,
    /// The largest frame that the connection allows.
    pub(crate) frame_max: u32,
}

impl BatchSettings<'_> {
    /// Returns whether the message needs a queue: a command, or an event that a queue is bound to.
    /// An event without a queue is confirmed and not returned.
    fn needs_queue(&self, message: &Envelope) -> bool {
        self.only.is_some()
            || message.role == Kind::Command
            || self.bound.contains(message.kind.as_ref())
    }

    /// Returns the exchange and the routing key of a message.
    fn route(&self, message: &Envelope) -> (Cow<'_, str>, String) {
        if let Some(queue) = self.only {
            let exchange = self.names.partitions(service(queue), message.role);
            return (exchange.into(), self.names.queue(queue));
        }
        let (exchange, routing_key) = self.names.route(message);
        (exchange.into(), routing_key)
    }
}

impl Publisher {
    async fn channel(&self, connection: &Connection) -> Result<Channel> {
        loop {
            let idle = self
                .idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .pop();
            match idle {
                Some(channel) if channel.status().connected() => return Ok(channel),
                Some(_) => {}
                None => break,
            }
        }
        let channel = connection
            .create_channel()
            .await
            .map_err(|e| unavailable(&e))?;
        let select = ConfirmSelectOptions::default();
        channel
            .confirm_select(select)
            .await
            .map_err(|e| unavailable(&e))?;
        Ok(channel)
    }

    /// Returns whether a declared queue or exchange was missing since the last call.
    pub(crate) fn take_topology_missing(&self) -> bool {
        self.topology_missing.swap(false, Ordering::Relaxed)
    }

    fn unconfirmed(&self, why: &lapin::Error) -> Refused {
        if reply_code(why) == Some(NOT_FOUND) {
            self.topology_missing.store(true, Ordering::Relaxed);
        }
        Refused::Unconfirmed(why.to_string())
    }

    /// Publishes messages, and returns one result per message in the same order.
    pub(crate) async fn publish(
        &self,
        connection: &Connection,
        settings: &BatchSettings<'_>,
        messages: &[Envelope],
    ) -> Vec<Confirmed> {
        let mut results = Vec::with_capacity(messages.len());
        for window in messages.chunks(WINDOW) {
            let batch = self.window(connection, settings, window);
            match tokio::time::timeout(settings.timeout, batch).await {
                Ok(Ok(some)) => results.extend(some),
                Ok(Err(why)) => {
                    results.extend(all_unconfirmed(window, &why.to_string()));
                }
                Err(_) => results.extend(all_unconfirmed(window, "no confirm arrived in time")),
            }
        }
        results
    }

    async fn window(
        &self,
        connection: &Connection,
        settings: &BatchSettings<'_>,
        messages: &[Envelope],
    ) -> Result<Vec<Confirmed>> {
        let channel = self.channel(connection).await?;
        let (confirmed, returned) = self.confirms(&channel, settings, messages).await;
        let reusable = confirmed.iter().all(Confirmed::is_ok) && channel.status().connected();
        if reusable {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.push(channel);
        }
        let result = |(message, confirmed): (&Envelope, Confirmed)| {
            confirmed?;
            if !returned.contains(&message.id.0) {
                return Ok(());
            }
            if matches!(message.dialog, Some(Dialog::Reply { .. })) {
                return Err(Refused::Unroutable); // Nobody waits any more.
            }
            metrics::counter!("wingbeat_messages_returned_total", "type" => message.kind.to_string())
                .increment(1);
            if settings.only.is_some() || settings.bound.contains(message.kind.as_ref()) {
                self.topology_missing.store(true, Ordering::Relaxed);
            }
            Err(Refused::Unroutable)
        };
        Ok(messages.iter().zip(confirmed).map(result).collect())
    }

    /// Publishes all messages and waits for all confirms. Also returns the ids of returned
    /// messages.
    async fn confirms(
        &self,
        channel: &Channel,
        settings: &BatchSettings<'_>,
        messages: &[Envelope],
    ) -> (Vec<Confirmed>, HashSet<Uuid>) {
        // Polled together and in order. Awaiting each would cost a switch of threads per message.
        let sent: FuturesOrdered<_> = messages
            .iter()
            .map(|message| self.send(channel, settings, message))
            .collect();
        let sent: Vec<_> = sent.collect().await;
        let mut returned = HashSet::default();
        let mut results = Vec::with_capacity(sent.len());
        for confirm in sent {
            let confirm = match confirm {
                Ok(confirm) => confirm.await,
                Err(why) => {
                    results.push(Err(why));
                    continue;
                }
            };
            results.push(match confirm {
                Ok(confirmation) => {
                    let nack = confirmation.is_nack();
                    returned.extend(returned_id(confirmation));
                    if nack {
                        Err(Refused::Unconfirmed("rejected by the broker".into()))
                    } else {
                        Ok(())
                    }
                }
                Err(why) => Err(self.unconfirmed(&why)),
            });
        }
        // Returned messages that the client has attached to no confirm.
        if let Ok(rest) = channel.wait_for_confirms().await {
            returned.extend(
                rest.iter()
                    .filter_map(|message| message_id(&message.delivery.properties)),
            );
        }
        (results, returned)
    }

    async fn send(
        &self,
        channel: &Channel,
        settings: &BatchSettings<'_>,
        message: &Envelope,
    ) -> std::result::Result<lapin::PublisherConfirm, Refused> {
        let impossible = |unfit: Unfit| Refused::Impossible(unfit.to_string());
        message.check().map_err(impossible)?;
        let (properties, size) = wire::properties(message, settings.names);
        if size > settings.frame_max as usize {
            let text = format!(
                "its headers need a frame of {size} bytes; RabbitMQ's `frame_max` is {}",
                settings.frame_max
            );
            return Err(Refused::Impossible(text));
        }
        let options = BasicPublishOptions {
            mandatory: settings.needs_queue(message) && !sabotage::lacks(sabotage::MANDATORY),
            ..BasicPublishOptions::default()
        };
        let (exchange, routing_key) = settings.route(message);
        channel
            .basic_publish(
                exchange.as_ref().into(),
                routing_key.into(),
                options,
                &message.body,
                properties,
            )
            .await
            .map_err(|why| self.unconfirmed(&why))
    }
}

fn all_unconfirmed(messages: &[Envelope], why: &str) -> Vec<Confirmed> {
    let one = Err(Refused::Unconfirmed(why.to_owned()));
    vec![one; messages.len()]
}

/// Returns the id of the returned message that the client has attached to a confirm, if there is
/// one.
fn returned_id(confirmation: Confirmation) -> Option<Uuid> {
    message_id(&confirmation.take_message()?.delivery.properties)
}

fn message_id(properties: &lapin::BasicProperties) -> Option<Uuid> {
    Uuid::parse_str(properties.message_id().as_ref()?.as_str()).ok()
}
