//! Handles one piece of work until its unit is staged: runs the handler, retries, parks and
//! dead-letters.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use wingbeat_core::unit::Outcome;
use wingbeat_core::{Envelope, Error, Result, RuntimeExt as _, Unit, failpoint};

use super::switch::Switch;
use super::work::{Origin, Stats, Subscription, UNKNOWN_VERSION, Work, panic_text, take};
use crate::failed::bounded;
use crate::partition::Router;
use crate::recording::Tape;
use crate::replay;
use crate::retry::Step;
use crate::runtime::Control;
use crate::telemetry::meters::{Fate, SubscriptionMeter};
use crate::trust::{Admitted, FORGED};
use crate::unit::{Scope, ServiceContext, back_off};
use crate::{bodies, telemetry};

/// Stale attempts in a row before the work counts as failed. Each one means that another unit
/// succeeded.
pub(super) const STALE_MAX: u32 = 1_000;
/// The pause before another attempt to store parked work or a dead letter.
pub(super) const STORE_AWAY: Duration = Duration::from_millis(250);
/// The longest pause before another attempt to store a dead letter that the store has refused.
const REFUSED_MAX: Duration = Duration::from_secs(60);

/// Work that has left its attempt.
pub(super) struct Finished {
    pub(super) works: Vec<Work>,
    pub(super) end: End,
}

/// The end of an attempt.
#[derive(Clone, Copy)]
pub(super) enum End {
    /// The unit has this outcome.
    Settled(Outcome),
    /// There is no unit: the work will be delivered again.
    Released,
    /// There is no unit: the work needs another attempt.
    Again,
}

/// The step after a failure.
pub(super) enum Next {
    /// Make another attempt.
    Again,
    /// Stage this unit: it parks the work.
    Unit(Box<Unit>),
    /// Do nothing: another unit has settled the work.
    Settled,
    /// Release the work: it will be delivered again.
    Release,
}

/// Handles one piece of work until its unit is staged.
pub(super) struct Attempt {
    pub(super) service: Arc<ServiceContext>,
    pub(super) subscription: Arc<Subscription>,
    pub(super) stats: Arc<Stats>,
    pub(super) meter: Arc<SubscriptionMeter>,
    pub(super) router: Option<Arc<Router>>,
    pub(super) switch: Option<Arc<Switch>>,
    pub(super) family: Arc<BTreeSet<&'static str>>,
    pub(super) control: watch::Receiver<Control>,
    pub(super) finished: mpsc::UnboundedSender<Finished>,
}

impl Attempt {
    /// Handles one piece of work, or a batch.
    pub(super) async fn all_until_staged(&self, mut works: Vec<Work>) {
        for work in &mut works {
            if let (Origin::Queue(_), true) = (&work.origin, work.fresh) {
                let now = self.service.runtime.now();
                self.meter.begun(now.since(work.sent));
            }
            self.verify(work);
        }
        let works = self.left_after_moving(works).await;
        match &self.subscription.batch {
            Some(handler) if works.len() > 1 => self.batch_until_staged(handler, works).await,
            _ => {
                for work in works {
                    self.until_staged(work).await;
                }
            }
        }
    }

    /// Repeats until the unit is staged, or the work turns out to be settled.
    pub(super) async fn until_staged(&self, mut work: Work) {
        let pause = work.put_off.take();
        if let Some(pause) = pause.filter(|_| work.hopeless.is_none()) {
            return self.put_off(work, pause).await;
        }
        let mut stale = 0;
        loop {
            // The unit of stale work was a success, which must not become a dead letter.
            if !std::mem::take(&mut work.stale) {
                self.expire(&mut work);
            }
            let failed = work.failed.take();
            if work.refused > 0 {
                let pause = STORE_AWAY * 2_u32.saturating_pow(work.refused.min(16));
                let pause = pause.min(REFUSED_MAX);
                let runtime = &self.service.runtime;
                runtime.sleep(pause + runtime.jitter(pause / 4)).await;
            }
            let unit = match (&work.hopeless, failed) {
                (Some(_), _) if self.waits(&work) => self.leave_waiting(&work).await,
                (Some((reason, words)), _) => self.dead_letter(&work, reason, words).await,
                (None, Some(why)) => Err(why),
                (None, None) => self.attempt(&work).await,
            };
            match unit {
                Ok(None) => return self.finish(work, End::Settled(Outcome::Duplicate)),
                Ok(Some(unit)) => match self.stage(unit, work, None) {
                    Ok(()) => return,
                    Err(back) => {
                        work = back;
                        work.stale = true;
                        stale += 1;
                        back_off(&self.service, stale).await;
                        if stale > STALE_MAX {
                            work.hopeless =
                                Some(("contended", "its state changed at every attempt".into()));
                        }
                    }
                },
                // The dead letter must be stored, so wait until the store is available again.
                Err(why) if work.hopeless.is_some() => self.wait_for_store(&why).await,
                Err(why) => {
                    let (parked, taken) = (work.failures.parked, work.failures.taken.clone());
                    match self.after_failure(&mut work, &why).await {
                        Next::Again => {}
                        Next::Unit(unit) => match self.stage(*unit, work, Some(why.code())) {
                            Ok(()) => return,
                            Err(back) => {
                                work = back;
                                work.stale = true;
                                work.failures.parked = parked;
                                work.failures.taken = taken;
                            }
                        },
                        Next::Settled => {
                            return self.finish(work, End::Settled(Outcome::Duplicate));
                        }
                        Next::Release => return self.finish(work, End::Released),
                    }
                }
            }
        }
    }

    /// Verifies the signature of a command from the queue. One that is forged becomes a dead letter
    /// without an attempt.
    fn verify(&self, work: &mut Work) {
        let is_refused = matches!(work.hopeless, Some((reason, _)) if reason != UNKNOWN_VERSION);
        if !work.admitted && !is_refused && matches!(work.origin, Origin::Queue(_)) {
            match self.admit(&work.envelope) {
                // A release that knows the version also knows the services that may send it.
                Ok(()) => work.admitted = work.hopeless.is_none(),
                Err(why) => work.hopeless = Some((why.code(), why.to_string())),
            }
        }
    }

    /// Checks that a message may be handled.
    ///
    /// # Errors
    ///
    /// `forged` if it is a command without a valid signature.
    fn admit(&self, envelope: &Envelope) -> Result<()> {
        let Some(trust) = &self.service.trust else {
            return Ok(());
        };
        if !self.subscription.is_command(&envelope.kind) {
            return Ok(());
        }
        match trust.admit(envelope) {
            Ok(Admitted::Signed) => Ok(()),
            Ok(Admitted::Unsigned) => {
                self.meter.unsigned();
                Ok(())
            }
            Err(why) => Err(Error::reject(FORGED, why)),
        }
    }

    /// Returns finished work to the dispatcher.
    pub(super) fn finish(&self, work: Work, end: End) {
        self.finish_all(vec![work], end);
    }

    pub(super) fn finish_all(&self, works: Vec<Work>, end: End) {
        if let (Some(switch), false) = (&self.switch, works.is_empty()) {
            switch.pass_over();
        }
        // If the dispatcher was killed, the work is redelivered.
        let _ = self.finished.send(Finished { works, end });
    }

    /// Waits in memory, parks the work or gives it up, as the policy says.
    async fn after_failure(&self, work: &mut Work, why: &Error) -> Next {
        if bodies::is_outage(why) {
            return self.wait_for_bodies(why).await;
        }
        let before = (work.quick, work.failures.clone());
        match self.count_failure(work, why).await {
            Ok(Some(next)) => next,
            Ok(None) => {
                work.hopeless = Some((why.code(), why.to_string()));
                Next::Again
            }
            // The store is unavailable: try again. This failure does not count.
            Err(why) => {
                (work.quick, work.failures) = before;
                self.wait_for_store(&why).await;
                Next::Again
            }
        }
    }

    /// Counts a failure and takes the step after it; `None` if no attempt is left.
    async fn count_failure(&self, work: &mut Work, why: &Error) -> Result<Option<Next>> {
        let is_first = work.failures.first_at.is_none();
        work.quick += 1;
        self.note(work, why);
        if is_first && self.subscription.policy.retry.max_age.is_some() {
            // From its first failure on the work can be too old.
            self.store_is_available(work).await?;
        }
        let step = self.step(work, why, work.quick);
        match step.map(|step| self.within_lease(work, why, step)) {
            Some(step @ Step::InPlace(pause)) => {
                self.meter.retried(why.code());
                self.take_step(work, why, step);
                let pause = self.until_too_old(work, pause, pause);
                self.service.runtime.sleep(pause).await;
                Ok(Some(Next::Again))
            }
            Some(step @ Step::Held(_)) => self.wait_in_place(work, why, step).await,
            Some(step @ Step::Parked(_)) => self.park(work, why, step).await,
            None => self.give_up(work, why).await,
        }
    }

    /// Waits for the pause of this step while the key stays busy. If the subscription is paused or
    /// drained meanwhile, the work is released.
    async fn wait_in_place(
        &self,
        work: &mut Work,
        why: &Error,
        step: Step,
    ) -> Result<Option<Next>> {
        self.store_is_available(work).await?;
        self.take_step(work, why, step);
        work.quick = 0;
        let mut control = self.control.clone();
        let stopped = control.wait_for(|it| *it != Control::Running);
        let pause = self.until_too_old(work, step.pause(), step.pause() / 4);
        let waited = self.service.runtime.timeout(pause, stopped).await;
        Ok(Some(waited.map_or(Next::Again, |_| Next::Release)))
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
            .get_or_insert_with(|| bounded(&why.to_string()));
        if let Some(suppressed) = self.stats.failures.admit(self.service.runtime.elapsed()) {
            tracing::warn!(queue = %self.subscription.queue, message = %work.envelope.id, code = why.code(), suppressed, "handling failed: {}", bounded(&why.to_string()));
        }
    }

    /// Runs the handler until it succeeds, or fails on current data. Returns `None` if other units
    /// have settled or cancelled the work.
    async fn attempt(&self, work: &Work) -> Result<Option<Unit>> {
        if let (Some(inbox), Origin::Queue(_)) = (self.subscription.replays, &work.origin)
            && replay::is_out_of_order(&self.service, inbox, &work.envelope).await?
        {
            return Ok(None);
        }
        for attempt in 0..STALE_MAX {
            let scope = Scope::of(Arc::clone(&self.service), &work.envelope);
            let answer = self.run(&scope, work).await;
            if answer.is_err() {
                work.keep_tape(scope.take_recording());
            }
            match &answer {
                Err(why) if self.read_stale_data(&scope, work, why).await => {
                    back_off(&self.service, attempt).await;
                }
                _ => return answer,
            }
        }
        let text = "the data on which the handler failed changed at every attempt";
        Err(Error::retry("contended", text))
    }

    /// Returns whether the handler failed on stale reads: a replica may have changed records that
    /// are cached here. The next attempt reads from the store; if this was the last one, the
    /// reads are validated like those of a write. So are those of work that can become too old: its
    /// next attempt may not be made. Reads that cannot be validated yet count as stale.
    pub(super) async fn read_stale_data(&self, scope: &Scope, work: &Work, why: &Error) -> bool {
        let Ok(unit) = scope.seal(None) else {
            return false;
        };
        let reads = unit.only_reads();
        self.service.committer.refresh(&reads);
        let ages = self.subscription.policy.retry.max_age.is_some();
        let another = !ages && self.step(work, why, work.quick + 1).is_some();
        if another || reads.reads.is_empty() {
            return false;
        }
        // An unavailable store cannot validate the reads, and may be the cause of the failure.
        if let Err(outage) = self.store_is_available(work).await {
            self.wait_for_store(&outage).await;
            return true;
        }
        self.service.committer.commit(reads).await == Outcome::Stale
    }

    async fn run(&self, scope: &Scope, work: &Work) -> Result<Option<Unit>> {
        let Some(mut settles) = self.settle(scope, work).await? else {
            return Ok(None);
        };
        if work.is_mark {
            return self.settle_mark(scope, settles).map(Some);
        }
        let Some(envelope) = self.readable(scope, work).await? else {
            return scope.seal(settles).map(Some);
        };
        if !work.admitted {
            self.admit(&envelope)?;
        }
        if work.suspect {
            settles = self.settle_suspect(scope, work)?;
            if work.known {
                return scope.seal(None).map(Some);
            }
        }
        let bodies = self.service.bodies.as_ref();
        // Until the handler has ended.
        let _room = bodies::room(bodies, std::iter::once(&envelope)).await?;
        let envelope = bodies::fetch(bodies, envelope).await?;
        let queue = self.subscription.owner();
        scope.record_attempt(|it| Tape::of_messages(it, queue.as_str(), [&envelope]))?;
        self.guarded((self.subscription.run)(scope.clone(), envelope))
            .await?;
        scope.store_bodies().await?;
        scope.seal(settles).map(Some)
    }

    /// Runs the handler, and turns its panic into an error.
    pub(super) async fn guarded(&self, running: BoxFuture<'static, Result<()>>) -> Result<()> {
        let began = self.service.runtime.elapsed();
        failpoint::reached(failpoint::HANDLER_BEFORE);
        let answer = AssertUnwindSafe(running).catch_unwind().await;
        let took = self.service.runtime.elapsed().saturating_sub(began);
        self.meter.ran(took, matches!(answer, Ok(Ok(()))));
        answer.unwrap_or_else(|panic| {
            let text = format!("the handler panicked: {}", panic_text(&*panic));
            Err(Error::reject("panicked", text))
        })?;
        failpoint::reached(failpoint::HANDLER_AFTER);
        Ok(())
    }

    /// Stages the unit that handles the work, dead-letters it, or parks it after this error.
    /// Returns the work if the unit is stale already.
    pub(super) fn stage(
        &self,
        unit: Unit,
        work: Work,
        parked: Option<&'static str>,
    ) -> Result<(), Work> {
        let fate = match (parked, &work.hopeless) {
            (Some(error), _) => Fate::Parked(error),
            (None, Some((reason, _))) if self.waits(&work) => Fate::Parked(reason),
            (None, Some((reason, _))) => Fate::Dead(reason),
            (None, None) => Fate::Handled,
        };
        let (meter, switch) = (Arc::clone(&self.meter), self.switch.clone());
        let end = move |_: &mut [Work], outcome| {
            meter.settled(fate, outcome);
            match (&switch, outcome) {
                (Some(switch), Outcome::Committed) => switch.count(1, fate.error()),
                (Some(switch), _) => switch.pass_over(),
                (None, _) => {}
            }
            End::Settled(outcome)
        };
        let staged = self.stage_all(unit, vec![work], end);
        staged.map_err(|mut back| back.pop().expect("the work comes back"))
    }

    /// Stages the unit of some work, which ends as `end` says when the outcome is known. Returns
    /// the work if the unit is stale already.
    pub(super) fn stage_all(
        &self,
        unit: Unit,
        works: Vec<Work>,
        end: impl FnOnce(&mut [Work], Outcome) -> End + Send + 'static,
    ) -> Result<(), Vec<Work>> {
        let finished = self.finished.clone();
        let slot = Arc::new(std::sync::Mutex::new(Some(works)));
        let of_done = Arc::clone(&slot);
        let done = Box::new(move |outcome| {
            if let Some(mut works) = take(&of_done) {
                let end = end(&mut works, outcome);
                // If the dispatcher was killed, the work is redelivered.
                let _ = finished.send(Finished { works, end });
            }
        });
        let staged = self.service.committer.stage(unit, done);
        staged.map_err(|_done| take(&slot).expect("`done` was not called"))
    }

    /// Parks the work for the pause of this step.
    async fn park(&self, work: &mut Work, why: &Error, step: Step) -> Result<Option<Next>> {
        // Otherwise the unit would wait for the store, and the pause with it.
        self.store_is_available(work).await?;
        let scope = Scope::of(Arc::clone(&self.service), &work.envelope);
        let Some(settles) = self.settle(&scope, work).await? else {
            return Ok(Some(Next::Settled));
        };
        let envelope = self.storable(&scope, work, &work.envelope).await?;
        self.take_step(work, why, step);
        let pause = self.until_too_old(work, step.pause(), step.pause() / 4);
        self.store_parked(&scope, work, &envelope, pause)?;
        let unit = scope.seal(settles)?;
        Ok(Some(Next::Unit(Box::new(unit))))
    }

    /// Returns the message for its handler; `None` if its subject was erased since it was parked.
    #[cfg_attr(
        not(feature = "personal"),
        allow(
            clippy::unused_async,
            clippy::unused_self,
            unused_variables,
            reason = "nothing is encrypted"
        )
    )]
    async fn readable(&self, scope: &Scope, work: &Work) -> Result<Option<Envelope>> {
        #[cfg(feature = "personal")]
        if self.subscription.policy.personal && matches!(work.origin, Origin::Due { .. }) {
            return crate::failed::personal::decrypt(scope, &work.envelope).await;
        }
        Ok(Some(work.envelope.clone()))
    }
}
