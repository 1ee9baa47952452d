//! From the commit to the broker: publish, wait for the confirms, remove from the outbox what was
//! confirmed. What was not is let go at once, to be tried again after a pause, and holds nobody up.
//!
//! What this process commits is handed over in memory, claimed with the commit. What others left
//! behind, and what was let go, is claimed from the outbox.

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
    Envelope, MessageId, Name, Outbox, Result, RuntimeExt as _, Transport, failpoint, sabotage,
};

use super::unroutable::Unsent;
use crate::commit::{Busy, Handover};
use crate::failed::keep_unsendable;
use crate::runtime::Control;
use crate::telemetry;
use crate::telemetry::meters::RelayMeter;
use crate::unit::ServiceContext;

/// Messages published at once.
const BATCH_MAX: usize = 512;
/// Batches on their way to the broker at once; no two have messages of the same key.
const PUBLISHING_MAX: usize = 4;
/// How long messages claimed from the outbox are nobody else's.
const LEASE: Duration = Duration::from_secs(30);
/// How often the outbox is looked into for what nobody hands over.
const LOOK: Duration = Duration::from_millis(500);
/// How long confirmed messages may stay in the outbox, and how many of them, so that many go at
/// once. It may be longer while a publish is on its way, which is waited for first. Of a process
/// that dies, so many are published once more.
const REMOVE_WITHIN: Duration = Duration::from_millis(50);
const REMOVE_FROM: usize = 256;
/// How long the end of a process waits for its last messages. What is not published by then is left
/// to others.
const END_WITHIN: Duration = Duration::from_secs(5);

/// Publishes the messages of these services.
pub(crate) struct Relay {
    pub(crate) outbox: Arc<dyn Outbox>,
    pub(crate) handover: Arc<Handover>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) services: BTreeMap<Name, Arc<ServiceContext>>,
    pub(crate) unsent: Arc<Mutex<Unsent>>,
    pub(crate) runtime: SharedRuntime,
}

/// Ends a relay that has nothing left to publish.
pub(crate) struct RelayEnd {
    control: watch::Sender<Control>,
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

impl RelayEnd {
    /// Waits until it has, or for long enough. Nothing may be committed any more.
    pub(crate) async fn reached(&self, runtime: &SharedRuntime) {
        self.control.send_replace(Control::Draining);
        let ended = self
            .ended
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(ended) = ended
            && runtime.timeout(END_WITHIN, ended).await.is_none()
        {
            tracing::warn!("not all messages were published in time: they are in the outbox");
        }
    }
}

/// What a relay has in hand.
#[derive(Default)]
struct State {
    /// Confirmed by the broker, and still in the outbox.
    confirmed: Vec<MessageId>,
    /// When those have to go.
    remove_at: Duration,
    /// They cannot go before.
    remove_from: Duration,
    /// Some are going.
    removing: bool,
    /// When to look into the outbox next.
    look_at: Duration,
    /// Batches that are being published, and their keys.
    publishing: usize,
    busy: Busy,
}

impl State {
    /// What goes now: a lot, or what has waited, or at the end everything.
    fn removable(&mut self, now: Duration, draining: bool) -> Vec<MessageId> {
        let (draining, lot) = (
            draining && self.publishing == 0,
            self.confirmed.len() >= REMOVE_FROM,
        );
        let ripe = draining || lot || now >= self.remove_at;
        match ripe && !self.removing && now >= self.remove_from {
            true => std::mem::take(&mut self.confirmed),
            false => Vec::new(),
        }
    }

    fn confirm(&mut self, now: Duration, confirmed: Vec<MessageId>) {
        if self.confirmed.is_empty() {
            self.remove_at = now + REMOVE_WITHIN;
        }
        self.confirmed.extend(confirmed);
    }
}

/// What has come to its end.
enum Ended {
    Published {
        keys: Vec<u64>,
        confirmed: Vec<MessageId>,
    },
    Removed(std::result::Result<(), Vec<MessageId>>),
}

impl Relay {
    /// Runs it until it is told to end.
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
        loop {
            let draining = *control.borrow() == Control::Draining;
            if draining {
                state.look_at = Duration::ZERO;
            }
            while state.publishing < PUBLISHING_MAX {
                let messages = self.next(&mut state).await;
                if messages.is_empty() {
                    break;
                }
                state.publishing += 1;
                let (keys, meter) = (state.busy.begin(&messages), &meter);
                work.push(Box::pin(async move {
                    let confirmed = self.publish(meter, messages).await;
                    Ended::Published { keys, confirmed }
                }));
            }
            let removable = state.removable(self.runtime.elapsed(), draining);
            if !removable.is_empty() {
                state.removing = true;
                work.push(Box::pin(self.take_away(removable)));
            }
            if work.is_empty() && draining && state.confirmed.is_empty() {
                return;
            }
            let pause = match state.confirmed.is_empty() {
                true => LOOK,
                false => REMOVE_WITHIN,
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
            Ended::Published { keys, confirmed } => {
                state.publishing -= 1;
                state.busy.done(&keys);
                state.confirm(now, confirmed);
            }
            Ended::Removed(removed) => {
                state.removing = false;
                if let Err(kept) = removed {
                    state.confirm(now, kept);
                    state.remove_from = now + LOOK + self.runtime.jitter(LOOK);
                }
            }
        }
    }

    /// What to publish next: what was handed over, and from time to time what lies in the outbox.
    /// That is published alone, since nobody knows what of it follows on what is on its way.
    async fn next(&self, state: &mut State) -> Vec<Envelope> {
        let now = self.runtime.elapsed();
        if now < state.look_at {
            return self.handover.take(now, BATCH_MAX, &state.busy);
        }
        if state.publishing > 0 {
            return Vec::new();
        }
        let services: Vec<Name> = self.services.keys().copied().collect();
        let time = self.runtime.now();
        match self.outbox.claim(&services, time, LEASE, BATCH_MAX).await {
            Ok(claimed) if !claimed.is_empty() => return claimed,
            Ok(_) => {}
            Err(why) => tracing::warn!("the outbox cannot be looked into: {why}"),
        }
        let now = self.runtime.elapsed();
        state.look_at = now + LOOK;
        self.handover.take(now, BATCH_MAX, &state.busy)
    }

    /// Removes what was confirmed; gives back what could not be.
    async fn take_away(&self, confirmed: Vec<MessageId>) -> Ended {
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

    /// Publishes a batch; what may be removed afterwards.
    async fn publish(&self, meter: &RelayMeter, messages: Vec<Envelope>) -> Vec<MessageId> {
        if messages.is_empty() {
            return Vec::new();
        }
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
                // The outbox hands the message out again once its lease ends.
                Err(why) => self.warn("kept as dead letters", Err(why)),
            }
        }
        if !sorted.rest.is_empty() {
            let released = self.outbox.release(sorted.rest, self.runtime.now()).await;
            self.warn("released", released);
        }
        sorted.confirmed
    }

    /// Logs a failure. The end of the lease repairs it.
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

/// Resolves when it is told to end; never, if there is nobody left to tell it.
async fn changed(control: &mut watch::Receiver<Control>) {
    if control.changed().await.is_err() {
        std::future::pending::<()>().await;
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
