//! The stored form of deliveries, and deliveries that wait for a release that knows them.

use std::sync::Arc;
use std::time::Duration;

use wingbeat_core::unit::Outcome;
use wingbeat_core::{Envelope, Result, Unit, sabotage};

use super::attempt::{Attempt, End};
use super::work::{Origin, Work};
use crate::failed::{
    DeadLetter, Parked, WAITING, WAITS_FOR, failed_again, harmless, pack, waiting_key,
};
use crate::recording;
use crate::telemetry::meters::Fate;
use crate::unit::{Scope, counter, due};
use crate::{encode, telemetry};

impl Attempt {
    /// Returns whether a newer release will know the work: a newer version of a message, or a timer
    /// that only another release sets, of a service of the system.
    pub(super) fn waits(&self, work: &Work) -> bool {
        let kind = &*work.envelope.kind;
        let is_unknown = !self.subscription.takes.contains(&kind) && work.broken.is_none();
        let is_timer = work.timer == Some(true);
        let has_waited = matches!(&work.origin, Origin::Due { key, .. } if key.table == WAITING);
        let is_forged = work.suspect || work.is_forged_delivery();
        let is_ours = self.family.contains(&*work.envelope.source) && !is_forged;
        is_unknown
            && (is_timer || self.subscription.is_newer(kind))
            && is_ours
            && !has_waited
            && work.refused == 0
    }

    /// Leaves the work for a release that knows it; see [`Waiting`](crate::failed::Waiting).
    pub(super) async fn leave_waiting(&self, work: &Work) -> Result<Option<Unit>> {
        let scope = Scope::of(Arc::clone(&self.service), &work.envelope);
        let Some(settles) = self.settle(&scope, work).await? else {
            return Ok(None);
        };
        let envelope = self.storable(&scope, work, &work.envelope).await?;
        let queue = self.subscription.owner();
        let parked = self.parked(work, &envelope);
        let at = scope.now() + WAITS_FOR;
        scope.write(due(waiting_key(queue, &envelope), encode(&parked), at))?;
        telemetry::ended("parked");
        if let Some(suppressed) = self.stats.failures.admit(self.service.runtime.elapsed()) {
            tracing::warn!(%queue, message = %envelope.id, kind = &*envelope.kind, suppressed, "a delivery waits for a release that knows its type");
        }
        // Settling counts the delivery as handled; this one was not.
        let inbox = self.subscription.inbox();
        scope.count(counter("handled", inbox.as_str()), -1)?;
        scope.count(counter("parked", queue.as_str()), 1)?;
        scope.seal(settles).map(Some)
    }

    /// Makes the unit of `scope` park the work.
    pub(super) fn store_parked(
        &self,
        scope: &Scope,
        work: &Work,
        envelope: &Envelope,
        pause: Duration,
    ) -> Result<()> {
        let parked = self.parked(work, envelope);
        let (inbox, queue) = (self.subscription.inbox(), self.subscription.owner());
        let at = scope.now() + pause;
        if !sabotage::lacks(sabotage::PARKING) {
            scope.write(due(work.parked_key(queue), encode(&parked), at))?;
        }
        telemetry::ended("parked");
        // Settling counts the delivery as handled; this one was not.
        scope.count(counter("handled", inbox.as_str()), -1)?;
        scope.count(counter("parked", queue.as_str()), 1)
    }

    /// Parks work of a tenant of which too much waits here. That is no failure.
    pub(super) async fn put_off(&self, work: Work, pause: Duration) {
        let unit = match self.postponed(&work, pause).await {
            Ok(Some(unit)) => unit,
            Ok(None) => return self.finish(work, End::Settled(Outcome::Duplicate)),
            Err(why) => {
                self.wait_for_store(&why).await;
                return self.finish(work, End::Again);
            }
        };
        let meter = Arc::clone(&self.meter);
        let end = move |_: &mut [Work], outcome| {
            meter.settled(Fate::PutOff, outcome);
            End::Settled(outcome)
        };
        if let Err(back) = self.stage_all(unit, vec![work], end) {
            self.finish_all(back, End::Again);
        }
    }

    async fn postponed(&self, work: &Work, pause: Duration) -> Result<Option<Unit>> {
        let scope = Scope::of(Arc::clone(&self.service), &work.envelope);
        let Some(settles) = self.settle(&scope, work).await? else {
            return Ok(None);
        };
        let envelope = self.storable(&scope, work, &work.envelope).await?;
        self.store_parked(&scope, work, &envelope, pause)?;
        scope.seal(settles).map(Some)
    }

    /// Makes the unit that turns the work into a dead letter; `None` if other units have settled
    /// it.
    pub(super) async fn dead_letter(
        &self,
        work: &Work,
        reason: &str,
        error: &str,
    ) -> Result<Option<Unit>> {
        // The store has refused something of the message, so the dead letter has a copy without it.
        let copy = (work.refused > 0).then(|| harmless(&work.envelope));
        let envelope = copy.as_ref().unwrap_or(&work.envelope);
        let scope = Scope::of(Arc::clone(&self.service), envelope);
        let Some(mut settles) = self.settle(&scope, work).await? else {
            return Ok(None);
        };
        if let (Some(settled), true) = (&mut settles, copy.is_some()) {
            settled.source = envelope.source.to_string();
        }
        let (queue, failures) = (self.subscription.owner(), work.failures.clone());
        let envelope = self.storable(&scope, work, envelope).await?;
        let mut letter = DeadLetter::new(&scope, queue, &envelope, (reason, error), failures);
        letter.broken.clone_from(&work.broken);
        letter.admitted = work.admitted;
        letter.suspect = work.suspect || work.is_forged_delivery();
        letter.timer = work.timer;
        if let Some(retried) = &work.retried {
            letter.again(retried);
            failed_again(&scope, &letter).await?;
        }
        letter.record(&scope)?;
        if let Some(tape) = work.last_tape() {
            let failed = recording::Failed::new(reason, error);
            scope.record_on(tape, Some(failed))?;
        }
        letter.log(&self.stats.failures, self.service.runtime.elapsed());
        telemetry::ended("dead");
        // Settling counts the delivery as handled; this one was not.
        let inbox = self.subscription.inbox();
        scope.count(counter("handled", inbox.as_str()), -1)?;
        scope.seal(settles).map(Some)
    }

    /// Returns the record of the work in its present state.
    pub(super) fn parked(&self, work: &Work, envelope: &Envelope) -> Parked {
        Parked {
            queue: self.subscription.owner().to_string(),
            failures: work.failures.clone(),
            admitted: work.admitted,
            suspect: work.suspect,
            timer: work.timer,
            envelope: pack(envelope),
            broken: work.broken.clone(),
            retried: work.retried.clone(),
        }
    }

    /// Returns the message of a failed delivery in the form in which it is stored.
    #[cfg_attr(
        not(feature = "personal"),
        allow(
            clippy::unused_async,
            clippy::unused_self,
            unused_variables,
            reason = "nothing is encrypted"
        )
    )]
    pub(super) async fn storable(
        &self,
        scope: &Scope,
        work: &Work,
        envelope: &Envelope,
    ) -> Result<Envelope> {
        #[cfg(feature = "personal")]
        if self.subscription.policy.personal && work.broken.is_none() {
            return crate::failed::personal::encrypt(scope, envelope).await;
        }
        Ok(envelope.clone())
    }
}
