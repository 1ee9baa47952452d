//! Publishing: persistent, mandatory, confirmed.
//!
//! A batch has a channel to itself until each of its messages was confirmed. So a confirm cannot be mistaken for
//! another task's, and a returned message, which may come with the confirm of any message of the batch, is
//! matched by its id. A channel on which anything went wrong is not used again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation, Connection};
use uuid::Uuid;
use wingbeat_core::envelope::{BODY_MAX, KEY_MAX};
use wingbeat_core::transport::Refused;
use wingbeat_core::{Envelope, HashSet, Kind, Result, sabotage};

use crate::link::{NOT_FOUND, away, said};
use crate::topology::Names;
use crate::wire;

/// Messages on their way at once: enough to keep a quorum queue busy, few enough to stop soon.
const WINDOW: usize = 512;

impl Plan<'_> {
    /// Whether somebody must get it: a command, or an event of the topology. An event that nobody asked for
    /// is confirmed without being returned.
    fn must_arrive(&self, message: &Envelope) -> bool {
        message.role == Kind::Command || self.bound.contains(message.kind.as_ref())
    }
}

type Answer = std::result::Result<(), Refused>;

/// Channels with confirms, each for one batch at a time.
#[derive(Default)]
pub(crate) struct Publisher {
    idle: Mutex<Vec<Channel>>,
    /// Something that is declared was not there.
    lacking: AtomicBool,
}

/// What a batch needs to know.
pub(crate) struct Plan<'a> {
    pub(crate) names: &'a Names,
    /// The types that somebody is bound to: such an event must not be returned.
    pub(crate) bound: &'a HashSet<&'static str>,
    pub(crate) timeout: Duration,
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
        let channel = connection.create_channel().await.map_err(|e| away(&e))?;
        let select = ConfirmSelectOptions::default();
        channel.confirm_select(select).await.map_err(|e| away(&e))?;
        Ok(channel)
    }

    /// Whether something that is declared was found not to be there, since this was last asked.
    pub(crate) fn found_lacking(&self) -> bool {
        self.lacking.swap(false, Ordering::Relaxed)
    }

    fn unconfirmed(&self, why: &lapin::Error) -> Refused {
        if said(why) == Some(NOT_FOUND) {
            self.lacking.store(true, Ordering::Relaxed);
        }
        Refused::Unconfirmed(why.to_string())
    }

    /// Publishes a batch; answers in order.
    pub(crate) async fn publish(
        &self,
        connection: &Connection,
        plan: &Plan<'_>,
        messages: &[Envelope],
    ) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(messages.len());
        for window in messages.chunks(WINDOW) {
            let batch = self.window(connection, plan, window);
            match tokio::time::timeout(plan.timeout, batch).await {
                Ok(Ok(some)) => answers.extend(some),
                Ok(Err(why)) => {
                    answers.extend(unconfirmed(window, &why.to_string()));
                }
                Err(_) => answers.extend(unconfirmed(window, "no confirm in time")),
            }
        }
        answers
    }

    async fn window(
        &self,
        connection: &Connection,
        plan: &Plan<'_>,
        messages: &[Envelope],
    ) -> Result<Vec<Answer>> {
        let channel = self.channel(connection).await?;
        let (confirmed, returned) = self.confirms(&channel, plan, messages).await;
        let whole = confirmed.iter().all(Result::is_ok) && channel.status().connected();
        if whole {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.push(channel);
        }
        let answer = |(message, confirm): (&Envelope, std::result::Result<(), Refused>)| {
            confirm?;
            if !returned.contains(&message.id.0) {
                return Ok(());
            }
            metrics::counter!("wingbeat_messages_returned_total", "type" => message.kind.to_string())
                .increment(1);
            if plan.bound.contains(message.kind.as_ref()) {
                self.lacking.store(true, Ordering::Relaxed);
            }
            Err(Refused::Unroutable)
        };
        Ok(messages.iter().zip(confirmed).map(answer).collect())
    }

    /// Publishes all messages, then waits for all confirms; which messages came back.
    async fn confirms(
        &self,
        channel: &Channel,
        plan: &Plan<'_>,
        messages: &[Envelope],
    ) -> (Vec<Answer>, HashSet<Uuid>) {
        // Polled together, in order: awaiting each would cost a switch of threads a message.
        let sent: FuturesOrdered<_> = messages
            .iter()
            .map(|message| self.send(channel, plan, message))
            .collect();
        let sent: Vec<_> = sent.collect().await;
        let mut returned = HashSet::default();
        let mut answers = Vec::with_capacity(sent.len());
        for confirm in sent {
            let answer = match confirm {
                Ok(confirm) => confirm.await,
                Err(why) => {
                    answers.push(Err(why));
                    continue;
                }
            };
            answers.push(match answer {
                Ok(confirmation) => {
                    let nack = confirmation.is_nack();
                    note(&mut returned, confirmation);
                    if nack {
                        Err(Refused::Unconfirmed("refused by the broker".into()))
                    } else {
                        Ok(())
                    }
                }
                Err(why) => Err(self.unconfirmed(&why)),
            });
        }
        // What no confirm brought along.
        if let Ok(rest) = channel.wait_for_confirms().await {
            returned.extend(
                rest.iter()
                    .filter_map(|message| id(&message.delivery.properties)),
            );
        }
        (answers, returned)
    }

    async fn send(
        &self,
        channel: &Channel,
        plan: &Plan<'_>,
        message: &Envelope,
    ) -> std::result::Result<lapin::PublisherConfirm, Refused> {
        if message.body.len() > BODY_MAX {
            let text = format!("its body has more than {BODY_MAX} bytes");
            return Err(Refused::Impossible(text));
        }
        if message.key.len() > KEY_MAX {
            let text = format!("its key has more than {KEY_MAX} bytes");
            return Err(Refused::Impossible(text));
        }
        let options = BasicPublishOptions {
            mandatory: plan.must_arrive(message) && !sabotage::lacks(sabotage::MANDATORY),
            ..BasicPublishOptions::default()
        };
        let (exchange, properties) = (plan.names.exchange(message.role), wire::properties(message));
        channel
            .basic_publish(
                exchange.into(),
                message.kind.as_ref().into(),
                options,
                &message.body,
                properties,
            )
            .await
            .map_err(|why| self.unconfirmed(&why))
    }
}

fn unconfirmed(messages: &[Envelope], why: &str) -> Vec<Answer> {
    let one = Err(Refused::Unconfirmed(why.to_owned()));
    vec![one; messages.len()]
}

fn note(returned: &mut HashSet<Uuid>, confirmation: Confirmation) {
    let message = confirmation.take_message();
    returned.extend(message.and_then(|message| id(&message.delivery.properties)));
}

fn id(properties: &lapin::BasicProperties) -> Option<Uuid> {
    Uuid::parse_str(properties.message_id().as_ref()?.as_str()).ok()
}
