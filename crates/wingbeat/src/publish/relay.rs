//! The relay: publishes messages, waits for the broker's confirms, and deletes confirmed messages
//! from the outbox. It releases unconfirmed messages at once and retries them after a pause, so
//! they do not delay others. Later messages with the same key wait in the outbox until then.
//!
//! The committer claims the messages of this process with the commit and passes them in memory. The
//! relay claims all others from the outbox: messages of processes that have died, and released
//! ones.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{oneshot, watch};
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::transport::Refused;
use wingbeat_core::{
    Dialog, Envelope, MessageId, Name, Outbox, Result, RuntimeExt as _, Transport, failpoint,
    sabotage,
};

use super::unroutable::Unsent;
use crate::commit::{Busy, Handover, key};
use crate::failed::keep_unsendable;
use crate::runtime::Control;
use crate::telemetry;
use crate::telemetry::meters::RelayMeter;
use crate::unit::ServiceContext;

/// The largest batch of messages.
const BATCH_MAX: usize = 512;
/// The largest number of batches in progress. Two of them never contain messages with the same key.
const PUBLISHING_MAX: usize = 4;
/// The time for which messages of the outbox stay claimed.
const LEASE: Duration = Duration::from_secs(30);
/// The interval between two claims from the outbox.
const CLAIM_INTERVAL: Duration = Duration::from_millis(500);
/// The longest time until confirmed messages are deleted. If the process dies before, another one
/// publishes them again.
const REMOVE_WITHIN: Duration = Duration::from_millis(50);
/// The number of confirmed messages that are deleted at once.
const REMOVE_FROM: usize = 256;
/// The longest wait for the last messages when a process ends. Other processes publish the rest.
const END_WITHIN: Duration = Duration::from_secs(5);
/// The longest time for releasing the rest.
const RELEASE_WITHIN: Duration = Duration::from_secs(1);

/// Publishes the messages of these services.
pub(crate) struct Relay {
    pub(crate) outbox: Arc<dyn Outbox>,
    pub(crate) handover: Arc<Handover>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) services: BTreeMap<Name, Arc<ServiceContext>>,
    pub(crate) unsent: Arc<Mutex<Unsent>>,
    pub(crate) runtime: SharedRuntime,
}

/// Ends a relay once it has nothing left to publish.
pub(crate) struct RelayEnd {
    control: watch::Sender<Control>,
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

impl RelayEnd {
    /// Ends the relay, and waits for it for a limited time. Call it after the last commit.
    pub(crate) async fn reached(&self, runtime: &SharedRuntime) {
        self.control.send_replace(Control::Draining);
        let ended = self
            .ended
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(ended) = ended
            && runtime
                .timeout(END_WITHIN + 2 * RELEASE_WITHIN, ended)
                .await
                .is_none()
        {
            tracing::warn!(
                "the relay did not end in time: other processes publish the rest from the outbox"
            );
        }
    }
}

/// The work in progress of a relay.
#[derive(Default)]
struct State {
    /// Messages that the broker has confirmed and the outbox still contains.
    confirmed: Vec<MessageId>,
    /// The time at which they must be deleted.
    remove_at: Duration,
    /// The time before which they are not deleted, after a failure.
    remove_from: Duration,
    /// Set while a deletion is in progress.
    removing: bool,
    /// The time of the next claim from the outbox.
    look_at: Duration,
    /// The messages of the batches that are being published, by the number of the batch, and their
    /// keys.
    publishing: BTreeMap<u64, Vec<MessageId>>,
    /// The number of the last batch.
    batch: u64,
    busy: Busy,
}

impl State {
    /// Begins a batch. Returns its number.
    fn begin(&mut self, messages: &[Envelope]) -> u64 {
        self.batch += 1;
        let ids = messages.iter().map(|message| message.id).collect();
        self.publishing.insert(self.batch, ids);
        self.batch
    }

    /// Takes the messages to delete now: a full batch, messages that have waited long enough, or
    /// all of them at the end.
    fn removable(&mut self, now: Duration, draining: bool) -> Vec<MessageId> {
        let at_end = draining && self.publishing.is_empty();
        let is_due = at_end || self.confirmed.len() >= REMOVE_FROM || now >= self.remove_at;
        if is_due && !self.removing && now >= self.remove_from {
            std::mem::take(&mut self.confirmed)
        } else {
            Vec::new()
        }
    }

    fn confirm(&mut self, now: Duration, confirmed: Vec<MessageId>) {
        if self.confirmed.is_empty() {
            self.remove_at = now + REMOVE_WITHIN;
        }
        self.confirmed.extend(confirmed);
    }
}

/// The result of a finished future.
enum Ended {
    Published {
        batch: u64,
        keys: Vec<u64>,
        published: Published,
    },
    Removed(std::result::Result<(), Vec<MessageId>>),
}

/// The result of publishing a batch.
#[derive(Default)]
struct Published {
    /// The messages that may be deleted.
    confirmed: Vec<MessageId>,
    /// The keys of messages that the broker has not confirmed, and the pauses until they are
    /// retried.
    unconfirmed: Vec<(u64, MessageId, Duration)>,
}

impl Relay {
    /// Runs the relay until its [`RelayEnd`] ends it.
    pub(crate) fn spawn(self) -> RelayEnd {
        let (control, controlled) = watch::channel(Control::Running);
        let (end, ended) = oneshot::channel::<()>();
        let runtime = Arc::clone(&self.runtime);
        runtime.spawn(Box::pin(async move {
            self.run(controlled).await;
            drop(end);
        }));
        RelayEnd {
            control,
            ended: Mutex::new(Some(ended)),
        }
    }

    async fn run(&self, mut control: watch::Receiver<Control>) {
        let meter = RelayMeter::new();
        let mut state = State::default();
        let mut work: FuturesUnordered<BoxFuture<'_, Ended>> = FuturesUnordered::new();
        let mut end_at = None;
        loop {
            let draining = *control.borrow() == Control::Draining;
            if draining {
                state.look_at = Duration::ZERO;
                let now = self.runtime.elapsed();
                if now >= *end_at.get_or_insert(now + END_WITHIN) {
                    drop(work); // No further attempt to publish what another process may claim.
                    return self.release_rest(&state).await;
                }
            }
            while state.publishing.len() < PUBLISHING_MAX {
                let messages = self.next(&mut state).await;
                if messages.is_empty() {
                    break;
                }
                let batch = state.begin(&messages);
                let (keys, meter) = (state.busy.begin(&messages), &meter);
                work.push(Box::pin(async move {
                    let published = self.publish(meter, messages).await;
                    Ended::Published {
                        batch,
                        keys,
                        published,
                    }
                }));
            }
            let removable = state.removable(self.runtime.elapsed(), draining);
            if !removable.is_empty() {
                state.removing = true;
                work.push(Box::pin(self.delete_confirmed(removable)));
            }
            if work.is_empty() && draining && state.confirmed.is_empty() {
                return;
            }
            let pause = if state.confirmed.is_empty() {
                CLAIM_INTERVAL
            } else {
                REMOVE_WITHIN
            };
            let woken = async {
                tokio::select! {
                    biased;
                    Some(ended) = work.next() => Some(ended),
                    () = changed(&mut control) => None,
                    () = self.handover.given() => None,
                }
            };
            if let Some(Some(ended)) = self.runtime.timeout(pause, woken).await {
                self.ended(&mut state, ended);
            }
        }
    }

    fn ended(&self, state: &mut State, ended: Ended) {
        let now = self.runtime.elapsed();
        match ended {
            Ended::Published {
                batch,
                keys,
                published,
            } => {
                state.publishing.remove(&batch);
                state.busy.done(&keys);
                state.busy.published(&published.confirmed);
                for (key, id, pause) in published.unconfirmed {
                    state.busy.unconfirmed(key, id, now + pause);
                }
                state.confirm(now, published.confirmed);
            }
            Ended::Removed(removed) => {
                state.removing = false;
                if let Err(kept) = removed {
                    state.confirm(now, kept);
                    state.remove_from = now + CLAIM_INTERVAL + self.runtime.jitter(CLAIM_INTERVAL);
                }
            }
        }
    }

    /// Returns the next messages to publish: messages passed in memory, and at intervals messages
    /// claimed from the outbox. Claimed messages may precede others with the same key, so they wait
    /// until no batch is in progress.
    async fn next(&self, state: &mut State) -> Vec<Envelope> {
        if self.runtime.elapsed() < state.look_at {
            return self.take(state).await;
        }
        if !state.publishing.is_empty() {
            return Vec::new();
        }
        let services: Vec<Name> = self.services.keys().copied().collect();
        let time = self.runtime.now();
        match self.outbox.claim(&services, time, LEASE, BATCH_MAX).await {
            Ok(claimed) => {
                let (now, is_complete) = (self.runtime.elapsed(), claimed.len() < BATCH_MAX);
                state.busy.forget(&claimed, is_complete, now);
                let (messages, waiting) = state.busy.split(claimed, now);
                self.release(waiting).await;
                if !messages.is_empty() {
                    return messages;
                }
            }
            Err(why) => tracing::warn!("cannot claim messages from the outbox: {why}"),
        }
        state.look_at = self.runtime.elapsed() + CLAIM_INTERVAL;
        self.take(state).await
    }

    /// Returns the next messages that were passed in memory.
    async fn take(&self, state: &mut State) -> Vec<Envelope> {
        let now = self.runtime.elapsed();
        let taken = self.handover.take(now, BATCH_MAX, &mut state.busy);
        self.release(taken.left).await;
        taken.messages
    }

    /// Releases messages in the outbox.
    async fn release(&self, pauses: Vec<(MessageId, Duration)>) {
        if !pauses.is_empty() {
            let released = self.outbox.release(pauses, self.runtime.now()).await;
            self.warn("released", released);
        }
    }

    /// Releases the messages that this process has claimed and not published, so that other
    /// processes need not wait for the end of its leases.
    async fn release_rest(&self, state: &State) {
        let publishing = state.publishing.values().flatten().copied();
        let rest: Vec<_> = publishing.chain(self.handover.clear()).collect();
        let count = rest.len();
        tracing::warn!(
            count,
            "not all messages were published in time: other processes publish the rest from the outbox"
        );
        let pauses = rest.into_iter().map(|id| (id, Duration::ZERO)).collect();
        let released = self.release(pauses);
        if self
            .runtime
            .timeout(RELEASE_WITHIN, released)
            .await
            .is_none()
        {
            tracing::warn!("the store does not answer: the messages stay claimed for a while");
        }
    }

    /// Deletes confirmed messages. Returns them if that fails.
    async fn delete_confirmed(&self, confirmed: Vec<MessageId>) -> Ended {
        let removed = self.remove(&confirmed).await;
        Ended::Removed(removed.map_err(|why| {
            tracing::warn!("published messages stay in the outbox for now: {why}");
            confirmed
        }))
    }

    async fn remove(&self, confirmed: &[MessageId]) -> Result<()> {
        if confirmed.is_empty() {
            return Ok(());
        }
        self.outbox.confirmed(confirmed.to_vec()).await?;
        failpoint::reached(failpoint::RELAY_REMOVED);
        Ok(())
    }

    /// Publishes a batch.
    async fn publish(&self, meter: &RelayMeter, messages: Vec<Envelope>) -> Published {
        if sabotage::lacks(sabotage::CONFIRMS) {
            let ids: Vec<MessageId> = messages.iter().map(|message| message.id).collect();
            self.warn("removed", self.remove(&ids).await);
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
            match keep_unsendable(&self.services, message, &why).await {
                Ok(()) => sorted.confirmed.push(message.id),
                // The message can be claimed again after its lease.
                Err(why) => self.warn("kept as dead letters", Err(why)),
            }
        }
        let pauses = sorted
            .unconfirmed
            .iter()
            .map(|(_, id, pause)| (*id, *pause));
        self.release(sorted.unroutable.into_iter().chain(pauses).collect())
            .await;
        Published {
            confirmed: sorted.confirmed,
            unconfirmed: sorted.unconfirmed,
        }
    }

    /// Logs a failure. The messages can be claimed again after their lease.
    fn warn(&self, what: &str, done: Result<()>) {
        if let Err(why) = done {
            tracing::warn!("messages could not be {what}: {why}");
        }
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
                // The process that asked has ended.
                Err(Refused::Unroutable) if is_reply(message) => {
                    metrics::counter!("wingbeat_replies_dropped_total").increment(1);
                    sorted.confirmed.push(message.id);
                }
                Err(Refused::Unroutable) => {
                    let pause = unsent.unroutable(&message.kind, now);
                    sorted.unroutable.push((message.id, pause));
                }
                Err(Refused::Impossible(why)) => sorted.impossible.push((message, why)),
                Err(Refused::Unconfirmed(why)) => {
                    unconfirmed.push((key(message), message.id));
                    last = why;
                }
            }
        }
        if !unconfirmed.is_empty() {
            let pause = unsent.unconfirmed(unconfirmed.len(), &last, now);
            let pause = pause + self.runtime.jitter(pause);
            let paused = unconfirmed.into_iter().map(|(key, id)| (key, id, pause));
            sorted.unconfirmed.extend(paused);
        }
        sorted
    }
}

fn is_reply(message: &Envelope) -> bool {
    matches!(message.dialog, Some(Dialog::Reply { .. }))
}

/// Resolves when the control changes; never if its sender was dropped.
async fn changed(control: &mut watch::Receiver<Control>) {
    if control.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The results of publishing a batch.
#[derive(Default)]
struct Sorted<'a> {
    confirmed: Vec<MessageId>,
    /// Messages that no broker accepts, and the reasons.
    impossible: Vec<(&'a Envelope, String)>,
    /// Messages of types without a queue, and the pauses. No queue contains later messages of
    /// their type either, so these need not wait.
    unroutable: Vec<(MessageId, Duration)>,
    /// Messages to retry with their keys, and the pauses.
    unconfirmed: Vec<(u64, MessageId, Duration)>,
}
