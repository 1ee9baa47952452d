//! One queue to its handler: one message a key at a time, different keys side by side.
//!
//! A key is free again when its unit is staged; the delivery is acknowledged when the unit is durable.

use std::collections::{BTreeMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::{mpsc, watch};
use wingbeat_core::transport::{Binding, Settler};
use wingbeat_core::unit::{Outcome, Settled, Write};
use wingbeat_core::{
    Class, Consumer, Delivery, Envelope, Error, Key, Name, Result, RuntimeExt as _, Tag, Transport,
    Unit, sabotage,
};

use crate::dead::{self, DeadLetter, Failures, Parked};
use crate::handler::Run;
use crate::scope::{ServiceContext, counter, due};
use crate::{Policy, Scope, encode};

/// Attempts after stale units before it counts as a failure: each one means that another succeeded.
const STALE_MAX: u32 = 1_000;
/// How long to wait before consuming anew after a consumer was lost.
const RECONSUME: Duration = Duration::from_millis(200);

/// The pause before the store is asked again to park or bury.
const STORE_AWAY: Duration = Duration::from_millis(250);

/// A queue, what is bound to it, and who handles it.
#[derive(Clone)]
pub(crate) struct Subscription {
    pub(crate) queue: Name,
    pub(crate) bindings: Vec<Binding>,
    pub(crate) policy: Policy,
    /// Timers' and queues' messages alike.
    pub(crate) takes: Vec<&'static str>,
    pub(crate) run: Run,
}

/// Where a piece of work comes from, and so how it is settled.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    Queue(Tag),
    /// A due record (timer, parked delivery) as it was claimed.
    Due {
        key: Key,
        body: Bytes,
    },
}

/// One message to be handled.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) envelope: Envelope,
    pub(crate) origin: Origin,
    pub(crate) failures: Failures,
    /// It cannot be handled, for this reason and these words: straight to the dead letters.
    pub(crate) hopeless: Option<(&'static str, String)>,
}

/// What a person or the runtime wants of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Consume.
    Running,
    /// Consume nothing until resumed.
    Paused,
    /// Finish and end.
    Draining,
}

/// Live figures of a subscription; what must last is counted by the store.
#[derive(Debug, Default)]
pub struct Stats {
    /// Deliveries taken and not yet settled.
    pub in_flight: AtomicU64,
    /// Attempts that failed and were tried again.
    pub retried: AtomicU64,
}

type Finished = (Work, Outcome);

pub(crate) struct Dispatcher {
    pub(crate) service: Arc<ServiceContext>,
    pub(crate) subscription: Arc<Subscription>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) control: watch::Receiver<Control>,
    pub(crate) due: mpsc::Receiver<Work>,
    pub(crate) stats: Arc<Stats>,
}

/// Work by key, in the order it arrived.
#[derive(Default)]
struct Lanes {
    /// What waits behind the work of its key that is running.
    behind: BTreeMap<String, VecDeque<Work>>,
    ready: VecDeque<Work>,
}

impl Lanes {
    fn push(&mut self, work: Work) {
        match self.behind.get_mut(&work.envelope.key) {
            Some(lane) => lane.push_back(work),
            None => {
                self.behind
                    .insert(work.envelope.key.clone(), VecDeque::new());
                self.ready.push_back(work);
            }
        }
    }

    fn push_front(&mut self, work: Work) {
        match self.behind.get_mut(&work.envelope.key) {
            Some(lane) => lane.push_front(work),
            None => self.push(work),
        }
    }

    fn free(&mut self, key: &str) {
        let Some(lane) = self.behind.get_mut(key) else {
            return;
        };
        match lane.pop_front() {
            Some(next) => self.ready.push_back(next),
            None => drop(self.behind.remove(key)),
        }
    }

    /// Forgets what has not started; the broker brings it again.
    fn clear(&mut self, running: impl Fn(&str) -> bool) {
        self.ready.clear();
        self.behind.retain(|key, lane| {
            lane.clear();
            running(key)
        });
    }
}

impl Dispatcher {
    pub(crate) async fn run(mut self) {
        let (finished, mut finishes) = mpsc::unbounded_channel::<Finished>();
        let mut lanes = Lanes::default();
        let mut running: FuturesUnordered<BoxFuture<'static, String>> = FuturesUnordered::new();
        let mut active: BTreeMap<String, ()> = BTreeMap::new();
        let mut consumer: Option<Box<dyn Consumer>> = None;
        let mut settler: Option<Arc<dyn Settler>> = None;
        let mut unsettled = 0_usize;
        loop {
            let control = *self.control.borrow_and_update();
            if control != Control::Running && consumer.take().is_some() {
                unsettled -=
                    lanes.ready.len() + lanes.behind.values().map(VecDeque::len).sum::<usize>();
                lanes.clear(|key| active.contains_key(key));
            }
            if control == Control::Draining && running.is_empty() && unsettled == 0 {
                return;
            }
            if control == Control::Running && consumer.is_none() {
                match self
                    .transport
                    .consume(self.subscription.queue, self.subscription.policy.prefetch)
                    .await
                {
                    Ok(new) => {
                        settler = Some(new.settler());
                        consumer = Some(new);
                    }
                    Err(why) => {
                        tracing::warn!(queue = %self.subscription.queue, "cannot consume: {why}");
                        self.service.runtime.sleep(RECONSUME).await;
                        continue;
                    }
                }
            }
            while running.len() < self.subscription.policy.concurrency
                && let Some(work) = lanes.ready.pop_front()
            {
                active.insert(work.envelope.key.clone(), ());
                running.push(self.start(work, finished.clone()));
            }
            self.stats
                .in_flight
                .store(unsettled as u64, Ordering::Relaxed);
            let full = self.service.committer.is_full();
            tokio::select! {
                biased;
                changed = self.control.changed() => if changed.is_err() { return },
                Some((work, outcome)) = finishes.recv() => {
                    let mut tags = Vec::new();
                    let mut next = Some((work, outcome));
                    while let Some((work, outcome)) = next {
                        unsettled -= self.finish(work, outcome, &mut lanes, &mut tags);
                        next = finishes.try_recv().ok();
                    }
                    if let (Some(settler), false) = (&settler, tags.is_empty()) {
                        settler.acknowledge(&tags);
                    }
                }
                Some(key) = running.next(), if !running.is_empty() => {
                    active.remove(&key);
                    lanes.free(&key);
                }
                Some(work) = self.due.recv(), if control == Control::Running => {
                    unsettled += 1;
                    lanes.push(work);
                }
                delivered = next(&mut consumer), if consumer.is_some() && !full => match delivered {
                    Ok(deliveries) => {
                        unsettled += deliveries.len();
                        if let (Some(settler), true) = (&settler, sabotage::lacks(sabotage::ACK_AFTER_COMMIT)) {
                            settler.acknowledge(&deliveries.iter().map(|it| it.tag).collect::<Vec<_>>());
                        }
                        deliveries.into_iter().for_each(|delivery| lanes.push(self.work(delivery)));
                    }
                    Err(why) => {
                        tracing::warn!(queue = %self.subscription.queue, "the consumer is lost: {why}");
                        consumer = None;
                    }
                },
                () = self.service.runtime.sleep(Duration::from_millis(2)), if full => {}
            }
        }
    }

    fn work(&self, delivery: Delivery) -> Work {
        let origin = Origin::Queue(delivery.tag);
        let (envelope, hopeless) = match delivery.envelope {
            Ok(envelope) if self.subscription.takes.contains(&&*envelope.kind) => (envelope, None),
            Ok(envelope) => {
                let words = format!("nobody here takes `{}`", envelope.kind);
                (envelope, Some(("unknown_type", words)))
            }
            Err(broken) => {
                let envelope = dead::envelope_of(&broken, self.service.runtime.now());
                (envelope, Some(("undecodable", broken.why)))
            }
        };
        Work {
            envelope,
            origin,
            failures: Failures::default(),
            hopeless,
        }
    }

    fn start(
        &self,
        work: Work,
        finished: mpsc::UnboundedSender<Finished>,
    ) -> BoxFuture<'static, String> {
        let attempt = Attempt {
            service: Arc::clone(&self.service),
            subscription: Arc::clone(&self.subscription),
            stats: Arc::clone(&self.stats),
            finished,
        };
        Box::pin(async move {
            let key = work.envelope.key.clone();
            attempt.until_staged(work).await;
            key
        })
    }

    /// Settles work whose unit has an outcome; 0 if it has to run again.
    fn finish(
        &self,
        mut work: Work,
        outcome: Outcome,
        lanes: &mut Lanes,
        tags: &mut Vec<Tag>,
    ) -> usize {
        match outcome {
            Outcome::Committed | Outcome::Duplicate => {
                if let Origin::Queue(tag) = work.origin {
                    tags.push(tag);
                }
                return 1;
            }
            Outcome::Stale => {}
            Outcome::Refused => {
                work.hopeless = Some(("refused", "the store refuses this unit".into()))
            }
        }
        lanes.push_front(work);
        0
    }
}

async fn next(consumer: &mut Option<Box<dyn Consumer>>) -> Result<Vec<Delivery>> {
    match consumer {
        Some(consumer) => consumer.next().await,
        None => std::future::pending().await,
    }
}

/// What can be done with work that failed.
enum Parking {
    /// This unit parks it.
    Unit(Box<Unit>),
    /// It was settled in the meantime.
    Settled,
    /// It has had all its pauses, or would fail again for ever.
    NoMore,
}

/// Handles one piece of work until its unit is staged: run, and if need be run again, park or give up.
struct Attempt {
    service: Arc<ServiceContext>,
    subscription: Arc<Subscription>,
    stats: Arc<Stats>,
    finished: mpsc::UnboundedSender<Finished>,
}

impl Attempt {
    async fn until_staged(&self, mut work: Work) {
        let mut quick = 0;
        let mut stale = 0;
        loop {
            let unit = match &work.hopeless {
                Some((reason, words)) => self.dead_letter(&work, reason, words).await,
                None => self.attempt(&work).await,
            };
            match unit {
                Ok(None) => return drop(self.finished.send((work, Outcome::Duplicate))),
                Ok(Some(unit)) => match self.stage(unit, work) {
                    Ok(()) => return,
                    Err(back) => {
                        work = back;
                        stale += 1;
                        if stale % 8 == 0 {
                            let pause = self
                                .service
                                .runtime
                                .jitter(Duration::from_millis(u64::from(stale.min(64))));
                            self.service.runtime.sleep(pause).await;
                        }
                        if stale > STALE_MAX {
                            work.hopeless =
                                Some(("contended", "its state changed at every attempt".into()));
                        }
                    }
                },
                // What becomes of hopeless work must be written too, however long the store is away.
                Err(why) if work.hopeless.is_some() => self.wait_for_store(&why).await,
                Err(why) => {
                    quick += 1;
                    self.note(&mut work, &why);
                    let retry = &self.subscription.policy.retry;
                    if why.class() == Class::Retry && quick < retry.quick {
                        let pause = retry.backoff * 2_u32.saturating_pow(quick - 1);
                        self.service
                            .runtime
                            .sleep(pause + self.service.runtime.jitter(pause))
                            .await;
                        continue;
                    }
                    let parked = work.failures.parked;
                    match self.park(&mut work, &why).await {
                        Ok(Parking::Unit(unit)) => match self.stage(*unit, work) {
                            Ok(()) => return,
                            Err(back) => {
                                work = back;
                                work.failures.parked = parked;
                            }
                        },
                        Ok(Parking::Settled) => {
                            return drop(self.finished.send((work, Outcome::Duplicate)));
                        }
                        Ok(Parking::NoMore) => {
                            work.hopeless = Some((why.code(), why.to_string()));
                        }
                        // It is not parked, and not given up: the store is asked again.
                        Err(why) => self.wait_for_store(&why).await,
                    }
                }
            }
        }
    }

    async fn wait_for_store(&self, why: &Error) {
        tracing::warn!(queue = %self.subscription.queue, "cannot park or bury yet: {why}");
        let runtime = &self.service.runtime;
        runtime.sleep(STORE_AWAY + runtime.jitter(STORE_AWAY)).await;
    }

    fn note(&self, work: &mut Work, why: &Error) {
        self.stats.retried.fetch_add(1, Ordering::Relaxed);
        work.failures.attempts += 1;
        work.failures
            .first_at
            .get_or_insert(self.service.runtime.now());
        work.failures
            .first_error
            .get_or_insert_with(|| why.to_string());
        tracing::warn!(queue = %self.subscription.queue, message = %work.envelope.id, code = why.code(), "handling failed: {why}");
    }

    /// Runs the handler; `None` when the work was done or cancelled in the meantime.
    async fn attempt(&self, work: &Work) -> Result<Option<Unit>> {
        let scope = Scope::of(Arc::clone(&self.service), &work.envelope);
        let Some(settles) = self.settle(&scope, work).await? else {
            return Ok(None);
        };
        let running = AssertUnwindSafe((self.subscription.run)(
            scope.clone(),
            work.envelope.clone(),
        ));
        match running.catch_unwind().await {
            Ok(result) => result?,
            Err(panic) => {
                return Err(Error::reject(
                    "panicked",
                    format!("the handler panicked: {}", words(&*panic)),
                ));
            }
        }
        scope.seal(settles).map(Some)
    }

    /// Makes the scope settle where the work comes from.
    async fn settle(&self, scope: &Scope, work: &Work) -> Result<Option<Option<Settled>>> {
        match &work.origin {
            Origin::Queue(tag) => Ok(Some(Some(Settled {
                queue: self.subscription.queue,
                source: work.envelope.source.to_string(),
                message: work.envelope.id,
                tag: Some(*tag),
                done: true,
            }))),
            Origin::Due { key, body } => {
                // Somebody may have handled, replaced or cancelled it since it was claimed.
                let unchanged = scope.load(key).await?.body.as_ref() == Some(body);
                if !unchanged && !sabotage::lacks(sabotage::TIMER_ONCE) {
                    return Ok(None);
                }
                scope.write(Write {
                    key: key.clone(),
                    body: None,
                    due_at: None,
                    expires_at: None,
                })?;
                if key.table == dead::PARKED {
                    scope.count(counter("handled", self.subscription.queue.as_str()), 1)?;
                    scope.count(counter("parked", self.subscription.queue.as_str()), -1)?;
                }
                Ok(Some(None))
            }
        }
    }

    fn stage(&self, unit: Unit, work: Work) -> Result<(), Work> {
        let finished = self.finished.clone();
        let slot = Arc::new(std::sync::Mutex::new(Some(work)));
        let of_done = Arc::clone(&slot);
        let done = Box::new(move |outcome| {
            if let Some(work) = take(&of_done) {
                drop(finished.send((work, outcome)));
            }
        });
        let due = unit.writes.iter().filter_map(|write| write.due_at).min();
        match self.service.committer.stage(unit, done) {
            Ok(()) => {
                if let Some(due) = due {
                    self.service.due.at(due);
                }
                Ok(())
            }
            Err(_done) => Err(take(&slot).expect("`done` was not called")),
        }
    }

    /// Parks the work for its next pause, if there is one left.
    async fn park(&self, work: &mut Work, why: &Error) -> Result<Parking> {
        let pauses = &self.subscription.policy.retry.parked;
        let Some(pause) = pauses.get(work.failures.parked as usize).copied() else {
            return Ok(Parking::NoMore);
        };
        if why.class() == Class::Reject {
            return Ok(Parking::NoMore);
        }
        let scope = Scope::of(Arc::clone(&self.service), &work.envelope);
        let Some(settles) = self.settle(&scope, work).await? else {
            return Ok(Parking::Settled);
        };
        work.failures.parked += 1;
        let parked = Parked {
            queue: self.subscription.queue.to_string(),
            failures: work.failures.clone(),
            envelope: dead::pack(&work.envelope),
        };
        let key = parked_key(self.subscription.queue, &work.envelope);
        let at = scope.now() + pause + self.service.runtime.jitter(pause / 4);
        if !sabotage::lacks(sabotage::PARKING) {
            scope.write(due(key, encode(&parked), at))?;
        }
        self.not_handled(&scope, "parked")?;
        let unit = scope.seal(settles)?;
        Ok(Parking::Unit(Box::new(unit)))
    }

    /// The settling of the origin counts as handled; this delivery is something else.
    fn not_handled(&self, scope: &Scope, but: &str) -> Result<()> {
        let queue = self.subscription.queue.as_str();
        scope.count(counter("handled", queue), -1)?;
        scope.count(counter(but, queue), 1)
    }

    async fn dead_letter(&self, work: &Work, reason: &str, error: &str) -> Result<Option<Unit>> {
        let scope = Scope::of(Arc::clone(&self.service), &work.envelope);
        let Some(settles) = self.settle(&scope, work).await? else {
            return Ok(None);
        };
        let queue = self.subscription.queue;
        let mut failures = work.failures.clone();
        failures.attempts = failures.attempts.max(1);
        failures.first_at.get_or_insert(scope.now());
        let letter = DeadLetter {
            id: scope.new_id(),
            subscription: queue.to_string(),
            kind: work.envelope.kind.to_string(),
            reason: reason.into(),
            error: error.into(),
            failures,
            last_at: scope.now(),
            fingerprint: dead::fingerprint(queue.as_str(), &work.envelope.kind, reason, error),
            discarded: false,
            envelope: dead::pack(&work.envelope),
        };
        tracing::error!(%queue, message = %work.envelope.id, reason, "dead letter {}: {error}", letter.id);
        let key = Key::new(dead::TABLE, letter.id.to_string());
        scope.write(Write {
            key,
            body: Some(encode(&letter)),
            due_at: None,
            expires_at: None,
        })?;
        self.not_handled(&scope, "dead")?;
        scope.seal(settles).map(Some)
    }
}

pub(crate) fn parked_key(queue: Name, envelope: &Envelope) -> Key {
    Key::new(
        dead::PARKED,
        format!("{queue}/{}/{}", envelope.source, envelope.id),
    )
}

fn take<T>(slot: &std::sync::Mutex<Option<T>>) -> Option<T> {
    slot.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .take()
}

fn words(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no words")
}
