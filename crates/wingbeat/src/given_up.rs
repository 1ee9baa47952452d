//! What the broker itself gave up on, since processes ended again and again with it in their hands: it becomes a
//! dead letter of the subscription it was in, so that a person sees it, and can have it tried again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use wingbeat_core::transport::GivenUp;
use wingbeat_core::unit::{Outcome, Settled};
use wingbeat_core::{Consumer, Delivery, Name, Result, Transport, Unit};

use crate::Scope;
use crate::dead::{self, DeadLetter, Failures};
use crate::dispatch::Control;
use crate::scope::{ServiceContext, counter};

/// The pause before another attempt at the broker, or at a letter that cannot be written.
const RETRY: Duration = Duration::from_secs(1);

/// Looks after what the broker gave up on for one service.
pub(crate) struct LastResort {
    pub(crate) service: Arc<ServiceContext>,
    pub(crate) transport: Arc<dyn Transport>,
    /// The subscriptions that run here.
    pub(crate) queues: BTreeSet<Name>,
    pub(crate) control: watch::Receiver<Control>,
}

impl LastResort {
    pub(crate) async fn run(mut self) {
        while *self.control.borrow_and_update() != Control::Draining {
            match self.transport.given_up(self.service.name).await {
                Ok(None) => return,
                Ok(Some(consumer)) => {
                    if self.consume(consumer).await.is_none() {
                        return;
                    }
                }
                Err(why) => {
                    tracing::debug!(service = %self.service.name, "cannot look after what was given up: {why}");
                    self.service.runtime.sleep(RETRY).await;
                }
            }
        }
    }

    /// Until the consumer is lost, or the service drains; `None` when nobody runs it any more.
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
                self.bury(&delivery).await;
                settler.acknowledge(&[delivery.tag]);
            }
        }
    }

    /// Until it is durable that it is a dead letter, or that it was handled after all.
    async fn bury(&self, delivery: &Delivery) {
        loop {
            let outcome = match self.letter(delivery) {
                Ok(unit) => self.service.committer.commit(unit).await,
                Err(why) => {
                    tracing::error!(service = %self.service.name, "cannot keep what was given up: {why}");
                    Outcome::Stale
                }
            };
            match outcome {
                Outcome::Committed | Outcome::Duplicate => return,
                Outcome::Stale | Outcome::Unmet(_) | Outcome::Refused => {
                    self.service.runtime.sleep(RETRY).await;
                }
            }
        }
    }

    fn letter(&self, delivery: &Delivery) -> Result<Unit> {
        let envelope = match &delivery.envelope {
            Ok(envelope) => envelope.clone(),
            Err(broken) => dead::envelope_of(broken, self.service.runtime.now()),
        };
        let unknown = GivenUp {
            queue: "unknown".into(),
            why: "unknown".into(),
        };
        let GivenUp { queue, why } = delivery.given_up.as_ref().unwrap_or(&unknown);
        let queue = Name::intern(queue);
        let words = format!(
            "the broker gave it up ({why}): it was handed out again and again, and nobody answered"
        );
        let (reason, words) = match self.queues.contains(&queue) {
            true => ("delivery_limit", words),
            false => (
                "unknown_subscription",
                format!("{words}; no such subscription runs here"),
            ),
        };
        let scope = Scope::of(Arc::clone(&self.service), &envelope);
        let letter = DeadLetter::new(
            &scope,
            queue,
            &envelope,
            (reason, &words),
            Failures::default(),
        );
        letter.lay(&scope)?;
        // The settling counts as handled; this delivery is something else.
        scope.count(counter("handled", queue.as_str()), -1)?;
        scope.seal(Some(Settled {
            queue,
            source: envelope.source.to_string(),
            message: envelope.id,
            tag: None,
        }))
    }
}
