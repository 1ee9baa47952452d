//! From the outbox to the broker: publish, wait for the confirms, remove what was confirmed. What was not is let
//! go at once, to be tried again after a pause, and holds nobody up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::transport::Refused;
use wingbeat_core::{
    Envelope, MessageId, Name, Outbox, Result, RuntimeExt as _, Transport, failpoint, sabotage,
};

use crate::committer::Committer;
use crate::dead;
use crate::dispatch::Control;
use crate::meters::RelayMeter;
use crate::scope::ServiceContext;
use crate::telemetry;
use crate::unsent::Unsent;

/// Messages published at once.
const BATCH_MAX: usize = 512;
/// How long claimed messages are nobody else's.
const LEASE: Duration = Duration::from_secs(30);
/// The pause after a failure.
const RETRY: Duration = Duration::from_millis(100);
/// How long to rest when nothing could be published and nothing was committed here: what another process
/// left behind, or what was let go, is found by then.
const IDLE: Duration = Duration::from_millis(500);

/// Empties the outbox of these services.
pub(crate) struct Relay {
    pub(crate) outbox: Arc<dyn Outbox>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) services: BTreeMap<Name, Arc<ServiceContext>>,
    pub(crate) unsent: Arc<Mutex<Unsent>>,
    pub(crate) runtime: SharedRuntime,
    pub(crate) committer: Arc<Committer>,
    pub(crate) control: watch::Receiver<Control>,
}

impl Relay {
    pub(crate) async fn run(self) {
        let meter = RelayMeter::new();
        loop {
            let committed = self.committer.committed();
            match self.round(&meter).await {
                Ok(0) if *self.control.borrow() == Control::Draining => return,
                Ok(0) => drop(self.runtime.timeout(IDLE, committed).await),
                Ok(_) => {}
                Err(why) => {
                    tracing::warn!("the relay will try again: {why}");
                    self.runtime.sleep(RETRY + self.runtime.jitter(RETRY)).await;
                }
            }
        }
    }

    /// One batch; how many were confirmed.
    async fn round(&self, meter: &RelayMeter) -> Result<usize> {
        let services: Vec<Name> = self.services.keys().copied().collect();
        let messages = self
            .outbox
            .claim(&services, self.runtime.now(), LEASE, BATCH_MAX)
            .await?;
        if messages.is_empty() {
            return Ok(0);
        }
        if sabotage::lacks(sabotage::CONFIRMS) {
            let ids = messages.iter().map(|message| message.id).collect();
            self.outbox.confirmed(ids).await?;
        }
        failpoint::reached(failpoint::RELAY_CLAIMED);
        let began = self.runtime.elapsed();
        let now = self.runtime.now().as_micros().unsigned_abs();
        let spans = telemetry::sending(self.transport.system(), &messages, now);
        let answers = self.transport.publish(messages.clone()).await;
        meter.published(&answers, self.runtime.elapsed().saturating_sub(began));
        failpoint::reached(failpoint::RELAY_CONFIRMED);
        let failed = spans
            .iter()
            .zip(&answers)
            .filter(|(_, answer)| answer.is_err());
        failed.for_each(|(span, _)| telemetry::failed_on(span, "unconfirmed"));
        drop(spans);
        let mut sorted = self.sort(&messages, answers);
        for (message, why) in sorted.impossible {
            // What cannot be written now is found again once the lease ends.
            if dead::unsendable(&self.services, message, &why).await {
                sorted.confirmed.push(message.id);
            }
        }
        let count = sorted.confirmed.len();
        self.outbox.confirmed(sorted.confirmed).await?;
        if !sorted.rest.is_empty() {
            self.outbox.release(sorted.rest, self.runtime.now()).await?;
        }
        failpoint::reached(failpoint::RELAY_REMOVED);
        Ok(count)
    }

    fn sort<'a>(
        &self,
        messages: &'a [Envelope],
        answers: Vec<std::result::Result<(), Refused>>,
    ) -> Sorted<'a> {
        let mut sorted = Sorted::default();
        let mut unconfirmed = Vec::new();
        let mut last = String::new();
        let now = self.runtime.now();
        let mut unsent = self.unsent.lock().unwrap_or_else(PoisonError::into_inner);
        for (message, answer) in messages.iter().zip(answers) {
            match answer {
                Ok(()) => {
                    unsent.confirmed(&message.kind);
                    sorted.confirmed.push(message.id);
                }
                Err(Refused::Unroutable) => {
                    let pause = unsent.unroutable(&message.kind, now);
                    sorted.rest.push((message.id, pause));
                }
                Err(Refused::Impossible(why)) => sorted.impossible.push((message, why)),
                Err(Refused::Unconfirmed(why)) => {
                    unconfirmed.push(message.id);
                    last = why;
                }
            }
        }
        if !unconfirmed.is_empty() {
            let pause = unsent.unconfirmed(unconfirmed.len(), &last, now);
            let pause = pause + self.runtime.jitter(pause);
            sorted
                .rest
                .extend(unconfirmed.into_iter().map(|id| (id, pause)));
        }
        sorted
    }
}

/// What became of a batch.
#[derive(Default)]
struct Sorted<'a> {
    confirmed: Vec<MessageId>,
    /// Messages that no broker will take, and why.
    impossible: Vec<(&'a Envelope, String)>,
    /// What is tried again, and after which pause.
    rest: Vec<(MessageId, Duration)>,
}
