//! The retry policy of a subscription, applied to one piece of work.

use std::time::Duration;

use wingbeat_core::{Class, Error, Result, RuntimeExt as _, Timestamp};

use super::attempt::{Attempt, Next};
use super::work::Work;
use crate::retry::Step;
use crate::trust::FORGED;

/// The part of a lease that is left for an attempt after a pause.
const LAST_ATTEMPT: Duration = Duration::from_secs(5);
/// The reason of dead letters that are older than their policy allows.
const TOO_OLD: &str = "too_old";

impl Attempt {
    /// Returns the step after this error, the `quick`th since the work was parked; `None` if no
    /// attempt is left.
    pub(super) fn step(&self, work: &Work, why: &Error, quick: u32) -> Option<Step> {
        // No rule may repeat what the signature does not permit.
        if why.code() == FORGED {
            return None;
        }
        let policy = &self.subscription.policy;
        let counts = (quick, work.failures.parked);
        let taken = &work.failures.taken;
        policy.retry.step(why, counts, taken, policy.keeps_order())
    }

    /// Returns the step, or another one if work from the store would stay in memory until another
    /// replica may take it.
    pub(super) fn within_lease(&self, work: &Work, why: &Error, step: Step) -> Step {
        let Some(end) = work.leased_until else {
            return step;
        };
        let now = self.service.runtime.elapsed();
        let next = (now + LAST_ATTEMPT).saturating_add(step.longest_in_memory());
        if next <= end {
            return step;
        }
        let retry = &self.subscription.policy.retry;
        let (parked, taken) = (work.failures.parked, &work.failures.taken);
        retry.in_store(why, step, parked, taken)
    }

    /// Counts a step.
    pub(super) fn take_step(&self, work: &mut Work, why: &Error, step: Step) {
        work.failures.parked += u32::from(!matches!(step, Step::InPlace(_)));
        let retry = &self.subscription.policy.retry;
        retry.take(why, step, &mut work.failures.taken);
    }

    /// Gives work up that has failed before and is older than the policy allows.
    pub(super) fn expire(&self, work: &mut Work) {
        let Some(end) = self.end(work).filter(|_| work.hopeless.is_none()) else {
            return;
        };
        if self.service.runtime.now() < end {
            return;
        }
        let age = self.subscription.policy.retry.max_age.unwrap_or_default();
        let first = work.failures.first_error.as_deref().unwrap_or_default();
        let words = format!("the message is older than {age:?}; first error: {first}");
        work.hopeless = Some((TOO_OLD, words));
    }

    /// Adds a random part to a pause, and shortens it so that it ends when the work is too old.
    pub(super) fn until_too_old(&self, work: &Work, pause: Duration, spread: Duration) -> Duration {
        let runtime = &self.service.runtime;
        let pause = pause.saturating_add(runtime.jitter(spread));
        let left = |end: Timestamp| end.since(runtime.now());
        self.end(work).map_or(pause, |end| pause.min(left(end)))
    }

    /// Returns the time from which the work is too old; `None` if it has no such time, or has not
    /// failed yet.
    fn end(&self, work: &Work) -> Option<Timestamp> {
        let age = self.subscription.policy.retry.max_age?;
        let first = work.failures.first_at?;
        let replayed = self.subscription.replays.is_some();
        let begin = if replayed {
            first
        } else {
            work.published(first)
        };
        Some(begin + age)
    }

    /// Returns `None`: no attempt is left.
    pub(super) async fn give_up(&self, work: &Work, why: &Error) -> Result<Option<Next>> {
        if why.class() == Class::Retry {
            self.store_is_available(work).await?;
        }
        Ok(None)
    }

    /// Checks that the store can be read. While it is unavailable every attempt fails, and none
    /// counts.
    pub(super) async fn store_is_available(&self, work: &Work) -> Result<()> {
        let key = work.parked_key(self.subscription.owner());
        self.service.store.load(&key).await.map(drop)
    }
}
