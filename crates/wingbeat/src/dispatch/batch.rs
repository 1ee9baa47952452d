//! Handles a batch until its unit is staged. If it fails, it is split.
//!
//! A batch that fails goes back to the dispatcher, as a whole for another attempt, or as two parts.
//! A part of one delivery is handled like that of any other handler, with all attempts of its retry
//! policy. So only a delivery that fails alone is parked or becomes a dead letter.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use wingbeat_core::store::has_nul;
use wingbeat_core::unit::Outcome;
use wingbeat_core::{Envelope, Error, Result, RuntimeExt as _, Unit};

use super::attempt::{Attempt, End, Next, STALE_MAX};
use super::work::{Origin, Part, Work};
use crate::batch::Unreadable;
use crate::handler::RunBatch;
use crate::policy::Policy;
use crate::recording::Tape;
use crate::retry::{Step, Taken};
use crate::telemetry::meters::Fate;
use crate::unit::{Ended, Scope, back_off};
use crate::{bodies, telemetry};

/// The reason why a batch has no unit.
enum Failed {
    /// This delivery cannot be decoded.
    One(Unreadable),
    /// The handler failed.
    All(Error),
}

impl From<Error> for Failed {
    fn from(why: Error) -> Self {
        Self::All(why)
    }
}

impl Attempt {
    /// Repeats until the unit is staged, or the batch has failed.
    pub(super) async fn batch_until_staged(&self, handler: &RunBatch, works: Vec<Work>) {
        self.pause_before(&works).await;
        let works = self.without_hopeless(works);
        let mut works = self.without_known(works).await;
        if works.is_empty() {
            return;
        }
        self.meter.gathered(works.len());
        for stale in 0.. {
            let failed = match self.attempt_batch(handler, &works).await {
                Err(Failed::All(why)) if bodies::is_outage(&why) => {
                    match self.wait_for_bodies(&why).await {
                        Next::Again => continue,
                        _ => return self.finish_all(works, End::Released),
                    }
                }
                Ok(unit) => match self.stage_batch(unit, works) {
                    Ok(()) => return,
                    Err(back) if stale < STALE_MAX => {
                        works = back;
                        back_off(&self.service, stale).await;
                        continue;
                    }
                    Err(back) => {
                        works = back;
                        let text = "the state of the batch changed at every attempt";
                        Failed::All(Error::retry("contended", text))
                    }
                },
                Err(failed) => failed,
            };
            return self.batch_failed(works, failed);
        }
    }

    /// Waits for the pause after a failed attempt.
    async fn pause_before(&self, works: &[Work]) {
        let pause = works.first().and_then(|work| work.part.as_ref());
        let pause = pause.map_or(Duration::ZERO, |part| part.pause);
        if !pause.is_zero() {
            let runtime = &self.service.runtime;
            runtime.sleep(pause + runtime.jitter(pause)).await;
        }
    }

    /// Leaves out forged commands and deliveries with a source that no store takes. They are
    /// handled alone.
    fn without_hopeless(&self, works: Vec<Work>) -> Vec<Work> {
        let alone = |work: &Work| work.hopeless.is_some() || has_nul(&work.envelope.source);
        let (mut alone, works): (Vec<_>, Vec<_>) = works.into_iter().partition(alone);
        set_alone(&mut alone);
        self.finish_all(alone, End::Again);
        works
    }

    /// Leaves out deliveries that are in the inbox, and settles them. A delivery that is in the
    /// batch twice waits: then it is in the inbox, too.
    async fn without_known(&self, works: Vec<Work>) -> Vec<Work> {
        let deliveries = works.iter().filter_map(|work| match work.origin {
            Origin::Queue(tag) => Some(self.delivery(work, tag)),
            Origin::Due { .. } => None, // It would be alone.
        });
        let deliveries: Vec<_> = deliveries.collect();
        let known = loop {
            match self.service.store.settled_among(deliveries.clone()).await {
                Ok(known) => break known,
                Err(why) => self.wait_for_store(&why).await,
            }
        };
        let (mut fresh, mut again) = (Vec::with_capacity(works.len()), Vec::new());
        let mut seen = BTreeSet::new();
        for ((work, known), delivery) in works.into_iter().zip(known).zip(&deliveries) {
            if known {
                again.extend(self.settle_known(work).await);
            } else if seen.insert((&delivery.source, delivery.message)) {
                fresh.push(work);
            } else {
                again.push(work);
            }
        }
        self.finish_all(again, End::Again);
        fresh
    }

    /// Stages a unit that settles a delivery which is in the inbox: the store finds the duplicate.
    /// Returns the work if that fails.
    async fn settle_known(&self, work: Work) -> Option<Work> {
        let scope = Scope::of(Arc::clone(&self.service), &work.envelope);
        let unit = match self.settle(&scope, &work).await {
            Ok(settles) => scope.seal(settles.flatten()),
            Err(why) => Err(why),
        };
        match unit {
            Ok(unit) => self.stage(unit, work, None).err(),
            Err(_) => Some(work),
        }
    }

    /// Runs the handler until it succeeds, or fails on current data.
    async fn attempt_batch(&self, handler: &RunBatch, works: &[Work]) -> Result<Unit, Failed> {
        for attempt in 0..STALE_MAX {
            let scope = Scope::of(Arc::clone(&self.service), &works[0].envelope);
            match self.run_batch(handler, &scope, works).await {
                Err(Failed::All(why)) if self.read_stale_data(&scope, &works[0], &why).await => {
                    back_off(&self.service, attempt).await;
                }
                answer => return answer,
            }
        }
        let text = "the data on which the handler failed changed at every attempt";
        Err(Error::retry("contended", text).into())
    }

    async fn run_batch(
        &self,
        handler: &RunBatch,
        scope: &Scope,
        works: &[Work],
    ) -> Result<Unit, Failed> {
        let mut settles = Vec::with_capacity(works.len());
        for work in works {
            settles.extend(self.settle(scope, work).await?.flatten());
        }
        let of_works = works.iter().map(|work| &work.envelope);
        // Until the handler has ended. A batch that is too large for it is split.
        let _room = bodies::room(self.service.bodies.as_ref(), of_works).await?;
        let envelopes = self.with_bodies(works).await?;
        let envelopes: Vec<&Envelope> = envelopes.iter().map(AsRef::as_ref).collect();
        let queue = self.subscription.owner();
        let tape = envelopes.iter().copied();
        scope.record_attempt(|it| Tape::of_messages(it, queue.as_str(), tape))?;
        let running = handler(scope.clone(), &envelopes).map_err(Failed::One)?;
        self.guarded(running).await?;
        scope.store_bodies().await?;
        Ok(scope.seal(settles)?)
    }

    /// Returns the messages with their bodies.
    async fn with_bodies<'a>(&self, works: &'a [Work]) -> Result<Vec<Cow<'a, Envelope>>, Failed> {
        let mut envelopes = Vec::with_capacity(works.len());
        for (at, work) in works.iter().enumerate() {
            envelopes.push(if bodies::is_stored(&work.envelope) {
                let (bodies, envelope) = (self.service.bodies.as_ref(), work.envelope.clone());
                match bodies::fetch(bodies, envelope).await {
                    Ok(envelope) => Cow::Owned(envelope),
                    Err(why) if bodies::is_outage(&why) => return Err(why.into()),
                    Err(why) => return Err(Failed::One(Unreadable { at, why })),
                }
            } else {
                Cow::Borrowed(&work.envelope)
            });
        }
        Ok(envelopes)
    }

    /// Stages the unit of a batch. Returns the batch if the unit is stale already.
    fn stage_batch(&self, unit: Unit, works: Vec<Work>) -> Result<(), Vec<Work>> {
        let (meter, subscription) = (Arc::clone(&self.meter), Arc::clone(&self.subscription));
        let switch = self.switch.clone();
        self.stage_all(unit, works, move |works, outcome| {
            if let (Some(switch), true) = (&switch, outcome != Outcome::Committed) {
                switch.pass_over();
            }
            match Ended::from(outcome) {
                // Another unit has settled one of them.
                Ended::Done if outcome == Outcome::Duplicate => {
                    keep_together(works);
                    return End::Again;
                }
                Ended::Done => {}
                Ended::Stale => keep_together(works),
                Ended::Failed(why) => {
                    regroup(&subscription.policy, works, &why);
                    return End::Again;
                }
            }
            if let (Some(switch), Outcome::Committed) = (&switch, outcome) {
                switch.count(u32::try_from(works.len()).unwrap_or(u32::MAX), None);
            }
            for _ in works {
                meter.settled(Fate::Handled, outcome);
            }
            End::Settled(outcome)
        })
    }

    /// Gives a batch back that has failed, for further attempts.
    fn batch_failed(&self, mut works: Vec<Work>, failed: Failed) {
        match failed {
            Failed::One(Unreadable { at, why }) => {
                self.note_batch(&works, &why);
                let (before, rest) = works.split_at_mut(at);
                let (broken, after) = rest.split_at_mut(1);
                set_alone(broken);
                let others = Arc::new(Part::new(before.len() + after.len()));
                for work in before.iter_mut().chain(after) {
                    work.part = Some(Arc::clone(&others));
                }
            }
            Failed::All(why) => {
                self.note_batch(&works, &why);
                regroup(&self.subscription.policy, &mut works, &why);
            }
        }
        self.finish_all(works, End::Again);
    }

    fn note_batch(&self, works: &[Work], why: &Error) {
        telemetry::failed(why.code());
        self.meter.retried(why.code());
        let queue = self.subscription.queue;
        let stats = &self.stats;
        stats
            .retried
            .fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if let Some(suppressed) = stats.failures.admit(self.service.runtime.elapsed()) {
            let (messages, code) = (works.len(), why.code());
            tracing::warn!(%queue, messages, code, suppressed, "handling a batch failed: {}", crate::failed::bounded(&why.to_string()));
        }
    }
}

/// Marks work to be handled alone.
fn set_alone(works: &mut [Work]) {
    for work in works {
        work.part = Some(Arc::new(Part::new(1)));
    }
}

/// Marks a batch to run again as a whole, without waiting for other messages.
fn keep_together(works: &mut [Work]) {
    let part = Arc::new(Part::new(works.len()));
    for work in works {
        work.part.get_or_insert_with(|| Arc::clone(&part));
    }
}

/// Prepares a batch for further attempts: as a whole if the policy repeats it in place, and in two
/// halves otherwise.
fn regroup(policy: &Policy, works: &mut [Work], why: &Error) {
    let before = works.first().and_then(|work| work.part.as_ref());
    let quick = before.map_or(0, |part| part.quick) + 1;
    let mut taken = before.map_or_else(Taken::default, |part| part.taken.clone());
    let step = policy
        .retry
        .step(why, (quick, 0), &taken, policy.keeps_order());
    let (first, pause) = match step {
        Some(step @ Step::InPlace(pause)) => {
            policy.retry.take(why, step, &mut taken);
            (works.len(), pause)
        }
        Some(Step::Held(_) | Step::Parked(_)) | None => (middle(works), Duration::ZERO),
    };
    let (one, other) = works.split_at_mut(first);
    for part in [one, other] {
        let shared = Arc::new(Part {
            size: part.len(),
            quick,
            taken: taken.clone(),
            pause,
        });
        for work in part {
            work.part = Some(Arc::clone(&shared));
        }
    }
}

/// Returns the place near the middle at which a batch is split: between two keys if it has several.
/// A key in both parts would keep the second one waiting for the first.
fn middle(works: &[Work]) -> usize {
    let half = works.len().div_ceil(2);
    let differ = |at: &usize| works[at - 1].envelope.key != works[*at].envelope.key;
    let between = (1..works.len()).filter(differ);
    between.min_by_key(|at| at.abs_diff(half)).unwrap_or(half)
}

#[cfg(test)]
mod tests {
    use super::super::work::deliveries;
    use super::*;
    use crate::{Attempts, Retry};

    fn sizes(works: &[Work]) -> Vec<usize> {
        let parts = works.iter().map(|work| work.part.as_ref());
        parts.map(|part| part.map_or(0, |it| it.size)).collect()
    }

    #[test]
    fn a_rejected_batch_is_halved() {
        let mut works = deliveries(["a"; 5]);
        regroup(&Policy::default(), &mut works, &Error::reject("no", ""));
        assert_eq!(sizes(&works), [3, 3, 3, 2, 2]);
        assert!(works[0].joins(&works[2]) && !works[2].joins(&works[3]));
        regroup(
            &Policy::default(),
            &mut works[3..],
            &Error::reject("no", ""),
        );
        assert_eq!(sizes(&works), [3, 3, 3, 1, 1]);
        assert!(works[3].is_alone() && !works[0].is_alone());
    }

    #[test]
    fn a_batch_is_split_between_two_keys() {
        let mut works = deliveries(["a", "b", "b", "b", "c", "d"]);
        regroup(&Policy::default(), &mut works, &Error::reject("no", ""));
        assert_eq!(sizes(&works), [4, 4, 4, 4, 2, 2]);
    }

    #[test]
    fn a_retryable_error_repeats_the_batch_before_it_is_halved() {
        let (policy, why) = (Policy::default(), Error::retry("busy", ""));
        let mut works = deliveries(["a"; 4]);
        let mut pauses = Vec::new();
        while {
            regroup(&policy, &mut works, &why);
            sizes(&works) == [4; 4]
        } {
            pauses.push(works[0].part.as_ref().map(|part| part.pause.as_millis()));
        }
        assert_eq!(pauses, [Some(20), Some(40)]);
        assert_eq!(sizes(&works), [2; 4]);
        regroup(&policy, &mut works[..2], &why);
        assert_eq!(sizes(&works), [1, 1, 2, 2], "the attempts are used up");
    }

    #[test]
    fn a_rule_repeats_the_batch_as_often_as_it_says() {
        let twice = Attempts::in_place([Duration::from_secs(1); 2]);
        let policy = Policy {
            retry: Retry::default().on_code("busy", twice),
            ..Policy::default()
        };
        let mut works = deliveries(["a"; 2]);
        for expected in [2, 2, 1] {
            regroup(&policy, &mut works, &Error::retry("busy", ""));
            assert_eq!(sizes(&works), [expected; 2]);
        }
    }
}
