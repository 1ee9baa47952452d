//! One piece of work: run, and if need be run again, park or give up, until its unit is staged.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::mpsc;
use wingbeat_core::unit::{Outcome, Settled, Write};
use wingbeat_core::{Class, Envelope, Error, Key, Name, Result, RuntimeExt as _, Unit, sabotage};

use super::{Finished, Origin, Stats, Subscription, Work};
use crate::dead::{self, DeadLetter, Parked};
use crate::scope::{ServiceContext, counter, due};
use crate::{Scope, encode};

/// Attempts after stale units before it counts as a failure: each one means that another succeeded.
const STALE_MAX: u32 = 1_000;
/// The pause before the store is asked again to park or bury.
const STORE_AWAY: Duration = Duration::from_millis(250);

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
pub(super) struct Attempt {
    pub(super) service: Arc<ServiceContext>,
    pub(super) subscription: Arc<Subscription>,
    pub(super) stats: Arc<Stats>,
    pub(super) finished: mpsc::UnboundedSender<Finished>,
}

impl Attempt {
    /// Until its unit is staged, or it turns out to be settled.
    pub(super) async fn until_staged(&self, mut work: Work) {
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
