//! Deliveries that the broker dead-lettered, because processes died repeatedly while handling them.
//! Each becomes a dead letter of its subscription, where a person can see and retry it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use wingbeat_core::transport::DeadLettered;
use wingbeat_core::unit::Settled;
use wingbeat_core::{Consumer, Delivery, Envelope, Name, Result, RuntimeExt as _, Transport};

use super::dead_letter::{DeadLetter, Failures, stand_in};
use crate::runtime::Control;
use crate::unit::{self, Attempt, Scope, ServiceContext, counter};

/// The first pause before another attempt to reach the broker, or to store a dead letter. It
/// doubles.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// The longest pause.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Consumes the broker's dead letters of one service.
pub(crate) struct BrokerDeadLetters {
    pub(crate) service: Arc<ServiceContext>,
    pub(crate) transport: Arc<dyn Transport>,
    /// The subscriptions that run here.
    pub(crate) queues: BTreeSet<Name>,
    /// Those whose messages contain personal data.
    #[cfg(feature = "personal")]
    pub(crate) personal: BTreeSet<Name>,
    pub(crate) control: watch::Receiver<Control>,
}

impl BrokerDeadLetters {
    pub(crate) async fn run(mut self) {
        while *self.control.borrow_and_update() != Control::Draining {
            match self.transport.broker_dead_letters(self.service.name).await {
                Ok(None) => return,
                Ok(Some(consumer)) => {
                    if self.consume(consumer).await.is_none() {
                        return;
                    }
                }
                Err(why) => {
                    tracing::debug!(service = %self.service.name, "cannot consume the broker's dead letters: {why}");
                    self.service.runtime.sleep(RETRY_MIN).await;
                }
            }
        }
    }

    /// Consumes until the consumer is lost or the service drains; `None` once the app was dropped.
    async fn consume(&mut self, mut consumer: Box<dyn Consumer>) -> Option<()> {
        let settler = consumer.settler();
        loop {
            let deliveries = tokio::select! {
                biased;
                changed = self.control.changed() => return changed.ok(),
                deliveries = consumer.next() => deliveries,
            };
            let Ok(deliveries) = deliveries else {
                return Some(());
            };
            for delivery in deliveries {
                self.keep(&delivery).await;
                settler.acknowledge(&[delivery.tag]);
            }
        }
    }

    /// Repeats until the dead letter is durable, or the delivery turns out to be settled.
    async fn keep(&self, delivery: &Delivery) {
        let mut pause = RETRY_MIN;
        loop {
            let attempt = || async {
                let (scope, settles, answer) = self.letter(delivery).await;
                Attempt {
                    scope,
                    settles: Some(settles),
                    answer,
                }
            };
            let Err(why) = unit::run(&self.service, attempt).await else {
                return;
            };
            let code = why.code();
            tracing::error!(service = %self.service.name, code, "cannot store a dead letter of the broker, trying again in {pause:?}: {why}");
            let runtime = &self.service.runtime;
            runtime.sleep(pause + runtime.jitter(pause / 4)).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    async fn letter(&self, delivery: &Delivery) -> (Scope, Settled, Result<()>) {
        let envelope = match &delivery.envelope {
            Ok(envelope) => envelope.clone(),
            Err(broken) => stand_in(broken, self.service.runtime.now()),
        };
        let unknown = DeadLettered {
            queue: "unknown".into(),
            reason: "unknown".into(),
        };
        let DeadLettered { queue, reason: why } =
            delivery.dead_lettered.as_ref().unwrap_or(&unknown);
        let queue = Name::intern(queue);
        let error = format!("the broker dead-lettered it ({why}): no delivery was acknowledged");
        let (reason, error) = if self.queues.contains(&queue) {
            ("delivery_limit", error)
        } else {
            let error = format!("{error}; no such subscription runs here");
            ("unknown_subscription", error)
        };
        let scope = Scope::of(Arc::clone(&self.service), &envelope);
        let decoded = delivery.envelope.is_ok();
        let recorded = self.record(&scope, queue, (&envelope, decoded), (reason, &error));
        let recorded = recorded.await;
        let settles = Settled {
            queue,
            source: envelope.source.to_string(),
            message: envelope.id,
            tag: None,
        };
        (scope, settles, recorded)
    }

    #[cfg_attr(
        not(feature = "personal"),
        allow(
            clippy::unused_async,
            clippy::unused_self,
            unused_variables,
            reason = "nothing is encrypted"
        )
    )]
    async fn record(
        &self,
        scope: &Scope,
        queue: Name,
        (envelope, decoded): (&Envelope, bool),
        reason: (&str, &str),
    ) -> Result<()> {
        #[cfg(feature = "personal")]
        let encrypted = if decoded && self.personal.contains(&queue) {
            super::personal::encrypt(scope, envelope).await?
        } else {
            envelope.clone()
        };
        #[cfg(feature = "personal")]
        let envelope = &encrypted;
        let letter = DeadLetter::new(scope, queue, envelope, reason, Failures::default());
        letter.record(scope)?;
        // Settling counts the delivery as handled; this one was not.
        scope.count(counter("handled", queue.as_str()), -1)
    }
}
