//! Deliveries that the broker dead-lettered, because processes died repeatedly while handling them.
//! Each becomes a dead letter of its subscription, where a person can see and retry it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use wingbeat_core::transport::{Broken, DeadLettered};
use wingbeat_core::unit::Settled;
use wingbeat_core::{
    Class, Consumer, Delivery, Envelope, LogLimit, Name, Result, RuntimeExt as _, Transport,
};

use super::dead_letter::{DeadLetter, Failures, harmless, stand_in};
use crate::replay;
use crate::runtime::Control;
use crate::unit::{self, Attempt, Scope, ServiceContext, counter, original_id};

/// The first pause before another attempt to reach the broker, or to store a dead letter. It
/// doubles.
const RETRY_MIN: Duration = Duration::from_secs(1);
/// The longest pause.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Consumes the broker's dead letters of one service.
pub(crate) struct BrokerDeadLetters {
    service: Arc<ServiceContext>,
    transport: Arc<dyn Transport>,
    /// The subscriptions that run here.
    queues: BTreeSet<Name>,
    /// The queues of subscriptions, by their partitions.
    partitions: BTreeMap<Name, Name>,
    /// Those whose messages contain personal data.
    #[cfg(feature = "personal")]
    personal: BTreeSet<Name>,
    control: watch::Receiver<Control>,
    /// Other queues that dead letters came from.
    removed: Mutex<BTreeSet<String>>,
    lines: LogLimit,
}

/// The largest number of removed subscriptions whose names are remembered.
const REMOVED_MAX: usize = 64;
/// The subscription of dead letters from further removed subscriptions.
const REMOVED: Name = Name::new("wb.removed");

impl BrokerDeadLetters {
    pub(crate) fn new(
        service: Arc<ServiceContext>,
        transport: Arc<dyn Transport>,
        queues: BTreeSet<Name>,
        control: watch::Receiver<Control>,
    ) -> Self {
        Self {
            service,
            transport,
            queues,
            partitions: BTreeMap::new(),
            #[cfg(feature = "personal")]
            personal: BTreeSet::new(),
            control,
            removed: Mutex::default(),
            lines: LogLimit::new(50, Duration::from_millis(200)),
        }
    }

    /// Sets the partitions, each with the queue of its subscription.
    pub(crate) fn with_partitions(self, partitions: BTreeMap<Name, Name>) -> Self {
        Self { partitions, ..self }
    }

    /// Sets the subscriptions whose messages contain personal data.
    #[cfg(feature = "personal")]
    pub(crate) fn with_personal(self, personal: BTreeSet<Name>) -> Self {
        Self { personal, ..self }
    }

    /// Returns the name of a queue. Names stay in memory and counters are kept for each, so few are
    /// accepted that are not subscriptions here: a publisher to the queue of dead letters chooses
    /// them.
    fn known(&self, queue: &str) -> Name {
        let mut partitions = self.partitions.iter();
        if let Some((_, owner)) = partitions.find(|(it, _)| it.as_str() == queue) {
            return *owner;
        }
        if let Some(known) = self.queues.iter().find(|known| known.as_str() == queue) {
            return *known;
        }
        let mut removed = self.removed.lock().unwrap_or_else(PoisonError::into_inner);
        if removed.len() < REMOVED_MAX || removed.contains(queue) {
            removed.insert(queue.to_owned());
            return Name::intern(queue);
        }
        REMOVED
    }

    pub(crate) async fn run(mut self) {
        let mut pause = RETRY_MIN;
        while *self.control.borrow_and_update() != Control::Draining {
            let began = self.service.runtime.elapsed();
            match self.transport.broker_dead_letters(self.service.name).await {
                Ok(None) => return,
                Ok(Some(consumer)) => {
                    if self.consume(consumer).await.is_none() {
                        return;
                    }
                    let runtime = &self.service.runtime;
                    // Consumers that do not last are replaced with growing pauses.
                    if runtime.elapsed().saturating_sub(began) < RETRY_MIN {
                        pause = (pause * 2).min(RETRY_MAX);
                        runtime.sleep(pause + runtime.jitter(pause / 4)).await;
                    } else {
                        pause = RETRY_MIN;
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
        let mut refused = false;
        loop {
            let attempt = || async {
                let (scope, settles, answer) = self.letter(delivery, refused).await;
                Attempt {
                    scope,
                    settles: Some(settles),
                    answer,
                }
            };
            let Err(why) = unit::run(&self.service, attempt).await else {
                return;
            };
            refused |= why.class() == Class::Reject;
            let code = why.code();
            tracing::error!(service = %self.service.name, code, "cannot store a dead letter of the broker, trying again in {pause:?}: {why}");
            let runtime = &self.service.runtime;
            runtime.sleep(pause + runtime.jitter(pause / 4)).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
    }

    /// Creates the dead letter; a harmless one if the store has refused the first.
    async fn letter(&self, delivery: &Delivery, refused: bool) -> (Scope, Settled, Result<()>) {
        let envelope = match &delivery.envelope {
            Ok(envelope) if refused => harmless(envelope),
            Ok(envelope) => envelope.clone(),
            Err(broken) => stand_in(broken, self.service.runtime.now()),
        };
        let unknown = DeadLettered {
            queue: "unknown".into(),
            reason: "unknown".into(),
        };
        let DeadLettered { queue, reason: why } =
            delivery.dead_lettered.as_ref().unwrap_or(&unknown);
        let queue = self.known(queue);
        let error = format!("the broker dead-lettered it ({why}): no delivery was acknowledged");
        let (reason, error) = if self.queues.contains(&queue) {
            ("delivery_limit", error)
        } else {
            let error = format!("{error}; no such subscription runs here");
            ("unknown_subscription", error)
        };
        let scope = Scope::of(Arc::clone(&self.service), &envelope);
        let broken = delivery.envelope.as_ref().err();
        let broken = broken.map(|it| it.broken.clone());
        let recorded = self.record(&scope, queue, (&envelope, broken), (reason, &error));
        let recorded = recorded.await;
        let settles = Settled {
            queue: replay::inbox(queue, &envelope),
            source: envelope.source.to_string(),
            message: original_id(&envelope),
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
        (envelope, broken): (&Envelope, Option<Broken>),
        reason: (&str, &str),
    ) -> Result<()> {
        #[cfg(feature = "personal")]
        let encrypted = if broken.is_none() && self.personal.contains(&queue) {
            super::personal::encrypt(scope, envelope).await?
        } else {
            envelope.clone()
        };
        #[cfg(feature = "personal")]
        let envelope = &encrypted;
        let mut letter = DeadLetter::new(scope, queue, envelope, reason, Failures::default());
        letter.broken = broken;
        letter.timer = Some(false);
        letter.log(&self.lines, self.service.runtime.elapsed());
        letter.record(scope)?;
        // Settling counts the delivery as handled; this one was not.
        scope.count(counter("handled", queue.as_str()), -1)
    }
}
