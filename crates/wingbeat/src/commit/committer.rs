//! Commits staged units, for all services of the process.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::store::DueRecord;
use wingbeat_core::unit::Outcome;
use wingbeat_core::{
    Error, Key, Name, Result, RuntimeExt as _, Store, Unit, UnitId, failpoint, sabotage,
};

use super::handover::{self, Handover};
use super::staging::{Done, Loaded, Miss, STAGED_MAX, Staging};
use super::wake::DueWake;
use crate::telemetry;
use crate::telemetry::meters::CommitMeter;

/// Commits staged units to a store, one batch at a time, for all services of the process.
///
/// One batch is with the store while the next one gathers: a slow store makes batches larger, not
/// the queue of batches longer. [`is_full`](Self::is_full) bounds what gathers.
pub(crate) struct Committer {
    store: Arc<dyn Store>,
    runtime: SharedRuntime,
    /// The messaging system for the messages' spans.
    carrier: &'static str,
    /// Never locked across an `await`: handlers stage and read while a batch is with the store.
    staging: Mutex<Staging>,
    /// Notified when a unit is staged.
    work: Notify,
    /// Notified after every batch.
    flushed: Notify,
    closed: AtomicBool,
    /// Passes committed messages to the relay, if one publishes them.
    handover: Option<Arc<Handover>>,
    due: Arc<DueWake>,
}

impl Committer {
    /// A committer; [`Committer::run`] must be spawned once.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        runtime: SharedRuntime,
        carrier: &'static str,
    ) -> Arc<Self> {
        let handover = store.outbox().map(|_| Arc::default());
        Arc::new(Self {
            handover,
            store,
            runtime,
            carrier,
            staging: Mutex::default(),
            work: Notify::new(),
            flushed: Notify::new(),
            closed: AtomicBool::new(false),
            due: Arc::default(),
        })
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Drops all staged units and refuses new ones with `stopped`. For a service that is killed. A
    /// batch that was submitted may still become durable.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        *self.lock() = Staging::default();
        self.flushed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Staging> {
        self.staging.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the record for the next unit: staged, cached, or from the store.
    pub(crate) async fn load(&self, service: Name, key: &Key) -> Result<Loaded> {
        loop {
            if self.closed.load(Ordering::Acquire) {
                return Err(Error::retry("stopped", "the service was stopped"));
            }
            // Before the look: a batch that ends in between is not missed.
            let flushed = self.flushed.notified();
            let miss = self.lock().get(service, key);
            match miss {
                Ok(loaded) => return Ok(loaded),
                Err(Miss::InFlight) => flushed.await,
                Err(Miss::Unknown) => break,
            }
        }
        let record = self.store.load(service, key).await?;
        let mut staging = self.lock();
        let loaded = Loaded {
            version: record.as_ref().map_or(0, |record| record.version),
            body: record.map(|record| record.body),
            seen: staging.refusals.now(),
        };
        // A unit that was staged during the load has the newer record.
        if let Ok(newer) = staging.get(service, key) {
            return Ok(newer);
        }
        staging.learn(service, key, &loaded);
        Ok(loaded)
    }

    /// Drops the cached version of a due record, unless the store has handed out that version.
    pub(crate) fn doubt(&self, due: &DueRecord) {
        let mut staging = self.lock();
        staging.doubt(due.service, &due.key, due.record.version);
    }

    /// Drops the cached versions of the records that a unit has read.
    pub(crate) fn refresh(&self, unit: &Unit) {
        let mut staging = self.lock();
        for read in &unit.reads {
            staging.refresh(unit.service, &read.key);
        }
    }

    /// Stages a unit. `done` is called with its outcome. Returns `done` uncalled if the unit is
    /// stale already.
    pub(crate) fn stage(&self, unit: Unit, done: Done) -> Result<(), Done> {
        if self.closed.load(Ordering::Acquire) {
            return Err(done);
        }
        let done = telemetry::committing(self.carrier, &unit, done);
        self.lock().stage(unit, done)?;
        self.work.notify_one();
        Ok(())
    }

    /// Stages a unit and waits for its outcome.
    pub(crate) async fn commit(&self, unit: Unit) -> Outcome {
        let (send, receive) = oneshot::channel();
        let staged = self.stage(
            unit,
            Box::new(move |outcome| {
                let _ = send.send(outcome); // The caller is gone: nothing left to notify.
            }),
        );
        if staged.is_err() {
            return Outcome::Stale;
        }
        receive.await.unwrap_or(Outcome::Stale)
    }

    /// Returns whether intake must wait for the store.
    pub(crate) fn is_full(&self) -> bool {
        self.closed.load(Ordering::Acquire) || self.lock().staged() >= STAGED_MAX
    }

    /// Returns the committed messages that wait for the relay, if a relay publishes them.
    pub(crate) fn handover(&self) -> Option<&Arc<Handover>> {
        self.handover.as_ref()
    }

    /// Returns the wake-up of the runner of due records.
    pub(crate) fn due(&self) -> &Arc<DueWake> {
        &self.due
    }

    /// Waits until no unit is staged.
    pub(crate) async fn drained(&self) {
        loop {
            let flushed = self.flushed.notified();
            if self.lock().staged() == 0 {
                return;
            }
            flushed.await;
        }
    }

    /// Commits batches until its task ends.
    pub(crate) async fn run(self: Arc<Self>) {
        let meter = CommitMeter::new();
        loop {
            let batch = self.lock().take_batch();
            if batch.is_empty() {
                self.work.notified().await;
                continue;
            }
            let (batch, began) = (Arc::new(batch), self.runtime.elapsed());
            failpoint::reached(failpoint::COMMIT_BEFORE);
            let outcomes = if sabotage::lacks(sabotage::OUTBOX) {
                self.submit_in_two(&batch).await
            } else {
                self.submit(&batch).await
            };
            failpoint::reached(failpoint::COMMIT_AFTER);
            meter.committed(batch.len(), self.runtime.elapsed().saturating_sub(began));
            self.wake_due(&batch, &outcomes);
            let finished = self.lock().complete(&batch, &outcomes);
            for (done, outcome) in finished {
                done(outcome);
            }
            self.flushed.notify_waiters();
        }
    }

    /// Wakes the runner for the earliest due record that the batch made durable.
    fn wake_due(&self, batch: &[Unit], outcomes: &[Outcome]) {
        let durable = batch
            .iter()
            .zip(outcomes)
            .filter(|(_, outcome)| **outcome == Outcome::Committed);
        let writes = durable.flat_map(|(unit, _)| &unit.writes);
        if let Some(due) = writes.filter_map(|write| write.due_at).min() {
            self.due.at(due);
        }
    }

    /// Submits the same units until the store returns their outcomes.
    async fn submit(&self, batch: &Arc<Vec<Unit>>) -> Vec<Outcome> {
        let mut pause = Duration::from_millis(10);
        loop {
            match self.try_commit(batch).await {
                Ok(outcomes) => return outcomes,
                Err(why) => self.report(&why),
            }
            self.runtime.sleep(pause + self.runtime.jitter(pause)).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }

    /// Commits state and messages in two steps: the dual write that the outbox prevents.
    async fn submit_in_two(&self, batch: &[Unit]) -> Vec<Outcome> {
        let mute = |unit: &Unit| Unit {
            messages: Vec::new(),
            ..unit.clone()
        };
        let outcomes = self
            .submit(&Arc::new(batch.iter().map(mute).collect()))
            .await;
        failpoint::reached(failpoint::COMMIT_AFTER);
        let speaking = batch
            .iter()
            .zip(&outcomes)
            .filter(|(unit, outcome)| **outcome == Outcome::Committed && !unit.messages.is_empty());
        let words = speaking.map(|(unit, _)| Unit {
            messages: unit.messages.clone(),
            ..Unit::new(UnitId(self.runtime.id()), unit.service, unit.at)
        });
        let words: Vec<Unit> = words.collect();
        if !words.is_empty() {
            self.submit(&Arc::new(words)).await;
        }
        outcomes
    }

    async fn try_commit(&self, batch: &Arc<Vec<Unit>>) -> Result<Vec<Outcome>> {
        let room = self.handover.as_ref().filter(|it| it.has_room());
        let Some(handover) = room else {
            return self.store.commit(Arc::clone(batch)).await;
        };
        let began = self.runtime.elapsed();
        let commit = self
            .store
            .commit_claiming(Arc::clone(batch), handover::LEASE);
        let (outcomes, messages) = commit.await?;
        handover.give(began, messages);
        Ok(outcomes)
    }

    fn report(&self, why: &Error) {
        metrics::counter!("wingbeat_commit_unknown_total").increment(1);
        tracing::warn!(
            code = why.code(),
            "the outcome of a commit is unknown, submitting the same units again: {why}"
        );
    }
}
