//! Units staged in memory, in order, building on one another; committed in groups.
//!
//! A key is free for its next message when its unit is *staged*; acknowledgements, replies, calls and
//! timers wait until it is *durable*. [`Staging`] is the sans-io heart, [`Committer`] gives it a store.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};
use wingbeat_core::runtime::SharedRuntime;
use wingbeat_core::unit::Outcome;
use wingbeat_core::{Error, HashMap, HashSet, Key, Name, Result, RuntimeExt as _, Store, Unit};

use crate::withdrawn::Withdrawn;

/// Units in one commit: beyond this, batches only get slower (measured by the store's prototype).
const BATCH_MAX: usize = 512;
/// Bytes of unchanged records kept for reading.
const CLEAN_BYTES_MAX: usize = 16 << 20;
/// Units staged and not yet durable; beyond it, intake waits.
pub const STAGED_MAX: usize = 8_192;

/// Called once with what became of the unit.
pub type Done = Box<dyn FnOnce(Outcome) + Send>;

/// A record as the next unit will find it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// 0 when absent.
    pub version: u64,
    /// The content; `None` when absent.
    pub body: Option<Bytes>,
    /// How many refusals came before (see [`Unit::seen`]).
    pub seen: u64,
}

struct Entry {
    /// 0 when absent; `None` after a blind write onto a version nobody here has seen.
    version: Option<u64>,
    body: Option<Bytes>,
    /// Staged units that wrote it and are not durable yet.
    dirty: u32,
}

struct StagedUnit {
    unit: Unit,
    done: Done,
}

/// What is known and what is waiting, without any I/O.
#[derive(Default)]
pub struct Staging {
    entries: HashMap<Name, HashMap<Key, Entry>>,
    clean: VecDeque<(Name, Key, usize)>,
    clean_bytes: usize,
    pending: VecDeque<StagedUnit>,
    in_flight: Vec<Done>,
    withdrawn: Withdrawn,
}

/// The record could not be answered from memory.
pub enum Miss {
    /// Ask the store.
    Unknown,
    /// A blind write to it is on its way: ask the store once that is durable.
    InFlight,
}

impl Staging {
    /// The record, if memory knows what the next unit will find.
    ///
    /// # Errors
    ///
    /// What to do instead.
    pub fn get(&self, service: Name, key: &Key) -> Result<Loaded, Miss> {
        let entry = self
            .entries
            .get(&service)
            .and_then(|keys| keys.get(key))
            .ok_or(Miss::Unknown)?;
        let version = entry.version.ok_or(Miss::InFlight)?;
        Ok(Loaded {
            version,
            body: entry.body.clone(),
            seen: self.withdrawn.now(),
        })
    }

    /// Remembers what the store answered, unless something newer is known.
    pub fn learn(&mut self, service: Name, key: &Key, loaded: &Loaded) {
        let keys = self.entries.entry(service).or_default();
        if keys.contains_key(key) {
            return;
        }
        let entry = Entry {
            version: Some(loaded.version),
            body: loaded.body.clone(),
            dirty: 0,
        };
        let size = weight(key, &entry);
        keys.insert(key.clone(), entry);
        self.note_clean(service, key.clone(), size);
    }

    /// Stages a unit, or hands it back when something it read has changed.
    ///
    /// # Errors
    ///
    /// The caller runs the handler again.
    pub fn stage(&mut self, unit: Unit, done: Done) -> Result<(), Done> {
        let keys = self.entries.entry(unit.service).or_default();
        let stale = unit.reads.iter().any(|read| {
            let entry = keys.get(&read.key);
            entry.is_some_and(|entry| entry.version != Some(read.version))
                || self.withdrawn.since(unit.seen, unit.service, &read.key)
        });
        if stale {
            return Err(done);
        }
        for write in &unit.writes {
            let read = unit
                .reads
                .iter()
                .find(|read| read.key == write.key)
                .map(|read| read.version);
            let entry = keys.entry(write.key.clone()).or_insert(Entry {
                version: read,
                body: None,
                dirty: 0,
            });
            // An absent record has version 0 and starts again at 1: so the store counts, and so must we.
            entry.version = match &write.body {
                Some(_) => entry.version.map(|version| version + 1),
                None => Some(0),
            };
            entry.body.clone_from(&write.body);
            entry.dirty += 1;
        }
        self.pending.push_back(StagedUnit { unit, done });
        Ok(())
    }

    /// How many units are staged and not durable.
    #[must_use]
    pub fn staged(&self) -> usize {
        self.pending.len() + self.in_flight.len()
    }

    /// The next batch; only one is on its way at a time.
    pub fn take_batch(&mut self) -> Vec<Unit> {
        debug_assert!(self.in_flight.is_empty(), "one batch at a time");
        let count = self.pending.len().min(BATCH_MAX);
        let (units, dones) = self
            .pending
            .drain(..count)
            .map(|staged| (staged.unit, staged.done))
            .unzip();
        self.in_flight = dones;
        units
    }

    /// Takes note of what became of the batch. Returns the calls to make, outside of any lock.
    pub fn complete(&mut self, batch: &[Unit], outcomes: &[Outcome]) -> Vec<(Done, Outcome)> {
        let mut tainted = HashSet::default();
        for (unit, outcome) in batch.iter().zip(outcomes) {
            match outcome {
                Outcome::Committed => self.settle(unit),
                Outcome::Stale | Outcome::Duplicate | Outcome::Refused => taint(unit, &mut tainted),
            }
        }
        let dones = std::mem::take(&mut self.in_flight);
        let mut finished: Vec<_> = dones.into_iter().zip(outcomes.iter().copied()).collect();
        if !tainted.is_empty() {
            finished.extend(
                self.drop_tainted(tainted)
                    .into_iter()
                    .map(|done| (done, Outcome::Stale)),
            );
        }
        finished
    }

    /// Removes the pending units that build on refused ones, and forgets all keys involved.
    fn drop_tainted(&mut self, mut tainted: HashSet<(Name, Key)>) -> Vec<Done> {
        let mut dropped = Vec::new();
        let mut kept = VecDeque::with_capacity(self.pending.len());
        for staged in self.pending.drain(..) {
            let service = staged.unit.service;
            let reads = staged.unit.reads.iter().map(|read| &read.key);
            let touched = reads.chain(staged.unit.writes.iter().map(|write| &write.key));
            if touched
                .into_iter()
                .any(|key| tainted.contains(&(service, key.clone())))
            {
                taint(&staged.unit, &mut tainted);
                dropped.push(staged.done);
            } else {
                kept.push_back(staged);
            }
        }
        self.pending = kept;
        self.withdrawn.add(&tainted);
        for (service, key) in &tainted {
            if let Some(keys) = self.entries.get_mut(service) {
                // Later units of the same batch may hold the key dirty: they find no entry, which is fine.
                keys.remove(key);
            }
        }
        dropped
    }

    fn settle(&mut self, unit: &Unit) {
        let mut settled = Vec::new();
        let Some(keys) = self.entries.get_mut(&unit.service) else {
            return;
        };
        for write in &unit.writes {
            let Some(entry) = keys.get_mut(&write.key) else {
                continue;
            };
            entry.dirty = entry.dirty.saturating_sub(1);
            if entry.dirty > 0 {
                continue;
            }
            if entry.body.is_none() || entry.version.is_none() || write.due_at.is_some() {
                keys.remove(&write.key);
            } else {
                settled.push((write.key.clone(), weight(&write.key, entry)));
            }
        }
        for (key, size) in settled {
            self.note_clean(unit.service, key, size);
        }
    }

    fn note_clean(&mut self, service: Name, key: Key, size: usize) {
        self.clean.push_back((service, key, size));
        self.clean_bytes += size;
        while self.clean_bytes > CLEAN_BYTES_MAX {
            let Some((service, key, size)) = self.clean.pop_front() else {
                break;
            };
            self.clean_bytes -= size;
            if let Some(keys) = self.entries.get_mut(&service)
                && keys.get(&key).is_some_and(|entry| entry.dirty == 0)
            {
                keys.remove(&key);
            }
        }
    }
}

fn weight(key: &Key, entry: &Entry) -> usize {
    key.id.len() * 2 + entry.body.as_ref().map_or(0, Bytes::len) + 160
}

fn taint(unit: &Unit, tainted: &mut HashSet<(Name, Key)>) {
    let reads = unit.reads.iter().map(|read| &read.key);
    for key in reads.chain(unit.writes.iter().map(|write| &write.key)) {
        tainted.insert((unit.service, key.clone()));
    }
}

/// Commits staged units to a store, one batch at a time, for all services of the process.
pub struct Committer {
    store: Arc<dyn Store>,
    runtime: SharedRuntime,
    staging: Mutex<Staging>,
    work: Notify,
    /// Told after every batch.
    flushed: Notify,
    closed: AtomicBool,
}

impl Committer {
    /// A committer; [`Committer::run`] must be spawned once.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, runtime: SharedRuntime) -> Arc<Self> {
        Arc::new(Self {
            store,
            runtime,
            staging: Mutex::default(),
            work: Notify::new(),
            flushed: Notify::new(),
            closed: AtomicBool::new(false),
        })
    }

    /// The store beneath.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Forgets what is staged, and takes nothing any more: whoever waits is told to try again, and is
    /// refused. For a service that is dropped where it stands; what was submitted may yet be durable.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        *self.lock() = Staging::default();
        self.flushed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, Staging> {
        self.staging.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The record as the next unit will find it: staged, remembered, or from the store.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn load(&self, service: Name, key: &Key) -> Result<Loaded> {
        loop {
            if self.closed.load(Ordering::Acquire) {
                return Err(Error::retry("stopped", "the service was stopped"));
            }
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
            seen: staging.withdrawn.now(),
        };
        if let Ok(newer) = staging.get(service, key) {
            return Ok(newer);
        }
        staging.learn(service, key, &loaded);
        Ok(loaded)
    }

    /// Stages a unit; `done` is called when it is durable, or found stale by the store.
    ///
    /// # Errors
    ///
    /// `done` comes back when the unit is stale already.
    pub fn stage(&self, unit: Unit, done: Done) -> Result<(), Done> {
        if self.closed.load(Ordering::Acquire) {
            return Err(done);
        }
        self.lock().stage(unit, done)?;
        self.work.notify_one();
        Ok(())
    }

    /// Stages a unit and waits for what becomes of it.
    pub async fn commit(&self, unit: Unit) -> Outcome {
        let (send, receive) = oneshot::channel();
        let staged = self.stage(
            unit,
            Box::new(move |outcome| {
                let _ = send.send(outcome); // Nobody waits any more: the caller is gone.
            }),
        );
        if staged.is_err() {
            return Outcome::Stale;
        }
        receive.await.unwrap_or(Outcome::Stale)
    }

    /// Whether intake should wait for the store.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.closed.load(Ordering::Acquire) || self.lock().staged() >= STAGED_MAX
    }

    /// Resolves after the next batch is durable.
    pub(crate) fn committed(&self) -> tokio::sync::futures::Notified<'_> {
        self.flushed.notified()
    }

    /// Waits until nothing staged is left.
    pub async fn drained(&self) {
        loop {
            let flushed = self.flushed.notified();
            if self.lock().staged() == 0 {
                return;
            }
            flushed.await;
        }
    }

    /// Commits batches for ever.
    pub async fn run(self: Arc<Self>) {
        loop {
            let batch = self.lock().take_batch();
            if batch.is_empty() {
                self.work.notified().await;
                continue;
            }
            metrics::histogram!("wingbeat_commit_batch_units").record(batch.len() as f64);
            let batch = Arc::new(batch);
            let outcomes = self.submit(&batch).await;
            let finished = self.lock().complete(&batch, &outcomes);
            for (done, outcome) in finished {
                done(outcome);
            }
            self.flushed.notify_waiters();
        }
    }

    /// Submits the same units until the store says what became of them.
    async fn submit(&self, batch: &Arc<Vec<Unit>>) -> Vec<Outcome> {
        let mut pause = Duration::from_millis(10);
        loop {
            match self.store.commit(Arc::clone(batch)).await {
                Ok(outcomes) => return outcomes,
                Err(why) => self.report(&why),
            }
            self.runtime.sleep(pause + self.runtime.jitter(pause)).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }

    fn report(&self, why: &Error) {
        metrics::counter!("wingbeat_commit_unknown_total").increment(1);
        tracing::warn!(
            code = why.code(),
            "the outcome of a commit is unknown, submitting it again: {why}"
        );
    }
}
