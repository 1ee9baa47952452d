//! One piece of work: run, and if need be run again, park or give up, until its unit is staged.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{mpsc, watch};
use wingbeat_core::unit::{Outcome, Settled, Write};
use wingbeat_core::{
    Class, Envelope, Error, Key, Name, Result, RuntimeExt as _, Unit, failpoint, sabotage,
};

use super::{Control, Finished, Origin, Stats, Subscription, Work};
use crate::dead::{self, DeadLetter, Parked};
use crate::meters::{Fate, SubscriptionMeter};
use crate::scope::{ServiceContext, counter, due};
use crate::unit_runner::back_off;
use crate::{Scope, encode, telemetry};

/// Attempts after stale units before it counts as a failure: each one means that another succeeded.
const STALE_MAX: u32 = 1_000;
/// The pause before the store is asked again to park or bury.
const STORE_AWAY: Duration = Duration::from_millis(250);

/// What comes after a failure.
enum Next {
    /// Another attempt.
    Again,
    /// This unit parks it.
    Unit(Box<Unit>),
    /// It was settled in the meantime.
    Settled,
    /// It is left as it is, to come again.
    LetGo,
}

/// Handles one piece of work until its unit is staged: run, and if need be run again, park or give up.
pub(super) struct Attempt {
    pub(super) service: Arc<ServiceContext>,
    pub(super) subscription: Arc<Subscription>,
    pub(super) stats: Arc<Stats>,
    pub(super) meter: Arc<SubscriptionMeter>,
    pub(super) family: Arc<BTreeSet<&'static str>>,
    pub(super) control: watch::Receiver<Control>,
    pub(super) finished: mpsc::UnboundedSender<Finished>,
}

impl Attempt {
    /// Until its unit is staged, or it turns out to be settled.
    pub(super) async fn until_staged(&self, mut work: Work) {
        if let (Origin::Queue(_), true) = (&work.origin, work.fresh) {
            let now = self.service.runtime.now();
            self.meter.begun(now.since(work.envelope.time));
        }
        let mut stale = 0;
        loop {
            let unmet = work.unmet.take();
            let unit = match (&work.hopeless, unmet) {
                (Some((reason, words)), _) => self.dead_letter(&work, reason, words).await,
                (None, Some(why)) => Err(why.into()),
                (None, None) => self.attempt(&work).await,
            };
            match unit {
                Ok(None) => return drop(self.finished.send((work, Some(Outcome::Duplicate)))),
                Ok(Some(unit)) => match self.stage(unit, work, None) {
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
                    let parked = work.failures.parked;
                    match self.after_failure(&mut work, &why).await {
                        Next::Again => {}
                        Next::Unit(unit) => match self.stage(*unit, work, Some(why.code())) {
                            Ok(()) => return,
                            Err(back) => {
                                work = back;
                                work.failures.parked = parked;
                            }
                        },
                        Next::Settled => {
                            return drop(self.finished.send((work, Some(Outcome::Duplicate))));
                        }
                        Next::LetGo => return drop(self.finished.send((work, None))),
                    }
                }
            }
        }
    }

    /// A few quick attempts, then it is parked, or waits where it is if others must not overtake it.
    async fn after_failure(&self, work: &mut Work, why: &Error) -> Next {
        work.quick += 1;
        self.note(work, why);
        let policy = &self.subscription.policy;
        if why.class() == Class::Retry && work.quick < policy.retry.quick {
            self.meter.retried(why.code());
            let pause = policy.retry.backoff * 2_u32.saturating_pow(work.quick - 1);
            let runtime = &self.service.runtime;
            runtime.sleep(pause + runtime.jitter(pause)).await;
            return Next::Again;
        }
        let next = match policy.ordered {
            true => self.wait_in_place(work, why).await,
            false => self.park(work, why).await,
        };
        match next {
            Ok(Some(next)) => next,
            Ok(None) => {
                work.hopeless = Some((why.code(), why.to_string()));
                Next::Again
            }
            // It is not parked, and not given up: the store is asked again.
            Err(why) => {
                self.wait_for_store(&why).await;
                Next::Again
            }
        }
    }

    /// Waits for the next pause of the policy with its key held; `None` when there is none left. Given up
    /// meanwhile (paused, drained), it comes again as it came.
    async fn wait_in_place(&self, work: &mut Work, why: &Error) -> Result<Option<Next>> {
        // While the store is away every attempt fails, and none counts.
        let key = parked_key(self.subscription.queue, &work.envelope);
        self.service.store.load(&key).await?;
        let Some(pause) = self.pause(work, why) else {
            return Ok(None);
        };
        work.failures.parked += 1;
        work.quick = 0;
        let mut control = self.control.clone();
        let stopped = async { drop(control.wait_for(|it| *it != Control::Running).await) };
        let pause = pause + self.service.runtime.jitter(pause / 4);
        let waited = self.service.runtime.timeout(pause, stopped).await;
        Ok(Some(waited.map_or(Next::Again, |_| Next::LetGo)))
    }

    /// The next pause of the policy, if another attempt may succeed and there is one left.
    fn pause(&self, work: &Work, why: &Error) -> Option<Duration> {
        let pauses = &self.subscription.policy.retry.parked;
        let pause = pauses.get(work.failures.parked as usize).copied();
        pause.filter(|_| why.class() == Class::Retry)
    }

    async fn wait_for_store(&self, why: &Error) {
        tracing::warn!(queue = %self.subscription.queue, "cannot park or bury yet: {why}");
        let runtime = &self.service.runtime;
        runtime.sleep(STORE_AWAY + runtime.jitter(STORE_AWAY)).await;
    }

    fn note(&self, work: &mut Work, why: &Error) {
        telemetry::failed(why.code());
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

    /// Runs the handler until it succeeds, or fails for what is so; `None` when the work was done or cancelled in the
    /// meantime.
    async fn attempt(&self, work: &Work) -> Result<Option<Unit>> {
        for attempt in 0..STALE_MAX {
            let scope = Scope::of(Arc::clone(&self.service), &work.envelope);
            let answer = self.run(&scope, work).await;
            match &answer {
                Err(why) if self.was_misled(&scope, work, why).await => {
                    back_off(&self.service, attempt).await;
                }
                _ => return answer,
            }
        }
        let words = "what its failure was decided on changed at every attempt";
        Err(Error::retry("contended", words))
    }

    /// Whether what a failure was decided on is not so any more: a replica may have changed what is remembered here. If
    /// there is another attempt, it is to see what the store says; if not, the store is asked, as for a write.
    async fn was_misled(&self, scope: &Scope, work: &Work, why: &Error) -> bool {
        let Ok(unit) = scope.seal(None) else {
            return false;
        };
        let decided_on = unit.only_reads();
        self.service.committer.refresh(&decided_on);
        let quick = work.quick + 1 < self.subscription.policy.retry.quick;
        let another = why.class() == Class::Retry && (quick || self.pause(work, why).is_some());
        if another || decided_on.reads.is_empty() {
            return false;
        }
        self.service.committer.commit(decided_on).await == Outcome::Stale
    }

    async fn run(&self, scope: &Scope, work: &Work) -> Result<Option<Unit>> {
        let Some(settles) = self.settle(scope, work).await? else {
            return Ok(None);
        };
        let began = self.service.runtime.elapsed();
        failpoint::reached(failpoint::HANDLER_BEFORE);
        let running = AssertUnwindSafe((self.subscription.run)(
            scope.clone(),
            work.envelope.clone(),
        ));
        let answer = running.catch_unwind().await;
        let took = self.service.runtime.elapsed().saturating_sub(began);
        self.meter.ran(took, matches!(answer, Ok(Ok(()))));
        match answer {
            Ok(result) => result?,
            Err(panic) => {
                return Err(Error::reject(
                    "panicked",
                    format!("the handler panicked: {}", words(&*panic)),
                ));
            }
        }
        failpoint::reached(failpoint::HANDLER_AFTER);
        scope.seal(settles).map(Some)
    }

    /// Makes the scope settle where the work comes from.
    async fn settle(&self, scope: &Scope, work: &Work) -> Result<Option<Option<Settled>>> {
        match &work.origin {
            Origin::Queue(tag) => {
                // What strangers sent was published by none of us: audits leave it out.
                if !self.family.contains(&*work.envelope.source) {
                    scope.count(counter("foreign", self.subscription.queue.as_str()), 1)?;
                }
                Ok(Some(Some(Settled {
                    queue: self.subscription.queue,
                    source: work.envelope.source.to_string(),
                    message: work.envelope.id,
                    tag: Some(*tag),
                })))
            }
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

    /// Stages the unit that handles the work, gives it up, or parks it after this error.
    fn stage(&self, unit: Unit, work: Work, parked: Option<&'static str>) -> Result<(), Work> {
        let fate = match (parked, &work.hopeless) {
            (Some(error), _) => Fate::Parked(error),
            (None, Some((reason, _))) => Fate::Dead(reason),
            (None, None) => Fate::Handled,
        };
        let (finished, meter) = (self.finished.clone(), Arc::clone(&self.meter));
        let slot = Arc::new(std::sync::Mutex::new(Some(work)));
        let of_done = Arc::clone(&slot);
        let done = Box::new(move |outcome| {
            meter.settled(fate, outcome);
            if let Some(work) = take(&of_done) {
                drop(finished.send((work, Some(outcome))));
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
    async fn park(&self, work: &mut Work, why: &Error) -> Result<Option<Next>> {
        let Some(pause) = self.pause(work, why) else {
            return Ok(None);
        };
        let scope = Scope::of(Arc::clone(&self.service), &work.envelope);
        let Some(settles) = self.settle(&scope, work).await? else {
            return Ok(Some(Next::Settled));
        };
        work.failures.parked += 1;
        let parked = Parked {
            queue: self.subscription.queue.to_string(),
            failures: work.failures.clone(),
            envelope: dead::pack(&work.envelope),
            broken: work.broken.clone(),
        };
        let key = parked_key(self.subscription.queue, &work.envelope);
        let at = scope.now() + pause + self.service.runtime.jitter(pause / 4);
        if !sabotage::lacks(sabotage::PARKING) {
            scope.write(due(key, encode(&parked), at))?;
        }
        telemetry::ended("parked");
        // The settling of the origin counts as handled; this delivery is something else.
        let queue = self.subscription.queue.as_str();
        scope.count(counter("handled", queue), -1)?;
        scope.count(counter("parked", queue), 1)?;
        let unit = scope.seal(settles)?;
        Ok(Some(Next::Unit(Box::new(unit))))
    }

    async fn dead_letter(&self, work: &Work, reason: &str, error: &str) -> Result<Option<Unit>> {
        let scope = Scope::of(Arc::clone(&self.service), &work.envelope);
        let Some(settles) = self.settle(&scope, work).await? else {
            return Ok(None);
        };
        let (queue, failures) = (self.subscription.queue, work.failures.clone());
        let mut letter = DeadLetter::new(&scope, queue, &work.envelope, (reason, error), failures);
        letter.broken.clone_from(&work.broken);
        letter.lay(&scope)?;
        telemetry::ended("dead");
        // The settling of the origin counts as handled; this delivery is something else.
        scope.count(counter("handled", queue.as_str()), -1)?;
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
