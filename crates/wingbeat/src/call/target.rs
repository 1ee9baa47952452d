use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wingbeat_core::{Error, LogLimits, Name, Timestamp};

use super::breaker::{Admission, Breaker, Cause, Pass, State};
use crate::TargetPolicy;
use crate::limit::{Flow, Place};
use crate::policy::{Limits, Priority};
use crate::telemetry::meters::TargetMeter;

/// An outside system: the bulkhead and the circuit breaker that all calls to it share.
pub struct Target {
    /// The service that calls it.
    pub service: Name,
    /// Its name in [`Call::TARGET`](crate::Call::TARGET).
    pub name: &'static str,
    pub(crate) policy: TargetPolicy,
    flow: Arc<Flow>,
    breaker: Mutex<Breaker>,
    meter: TargetMeter,
    /// Limits the log lines about calls that were given up, by code.
    pub(crate) given_up: LogLimits,
}

impl Target {
    pub(crate) fn new(
        service: Name,
        name: &'static str,
        policy: TargetPolicy,
        flow: Arc<Flow>,
        now: Timestamp,
    ) -> Arc<Self> {
        let breaker = Breaker::new(policy.breaker_failures, policy.breaker_open, now)
            .with_window(policy.breaker_window.clone());
        Arc::new(Self {
            service,
            name,
            flow,
            policy,
            breaker: Mutex::new(breaker),
            meter: TargetMeter::new(service, name),
            given_up: LogLimits::new(20, Duration::from_secs(1)),
        })
    }

    /// Returns the state of the breaker, and the time of its last change.
    pub fn state(&self) -> (State, Timestamp) {
        self.breaker().state()
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns its current limits: those of the code, or those that
    /// [`Running::limit_target`](crate::Running::limit_target) has set.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.flow.limits()
    }

    /// Waits for a place in the bulkhead.
    pub(crate) async fn place(&self, priority: Priority) -> Place {
        self.flow.places().take(priority).await
    }

    /// Waits until the rate allows an attempt.
    pub(crate) async fn turn(&self) {
        if let Some(limiter) = self.flow.limiter() {
            limiter.turn().await;
        }
    }

    /// Asks the breaker whether a call may go.
    ///
    /// # Errors
    ///
    /// Returns the time before which it may not.
    pub(crate) fn admit(self: &Arc<Self>, now: Timestamp) -> Result<Admitted, Timestamp> {
        match self.changing(None, |breaker| breaker.admit(now)) {
            Admission::Go(pass) => Ok(Admitted {
                target: Arc::clone(self),
                pass,
            }),
            Admission::WaitUntil(at) => Err(at),
        }
    }

    /// Measures an attempt; `None` if it timed out.
    pub(crate) fn measure<T>(&self, answer: Option<&wingbeat_core::Result<T>>, took: Duration) {
        self.meter.called(answer, took);
    }

    /// Counts a call that was given up.
    pub(crate) fn gave_up(&self, code: &'static str) {
        self.meter.gave_up(code);
    }

    /// Changes the breaker, and reports a change of its state.
    fn changing<T>(&self, why: Option<&Error>, change: impl FnOnce(&mut Breaker) -> T) -> T {
        let mut breaker = self.breaker();
        let (before, _) = breaker.state();
        let result = change(&mut breaker);
        let (after, _) = breaker.state();
        let cause = breaker.cause().map_or("", Cause::as_str);
        drop(breaker);
        if before != after {
            self.report(before, after, cause, why);
        }
        result
    }

    fn report(&self, before: State, after: State, cause: &'static str, why: Option<&Error>) {
        self.meter.breaker_changed(after.as_str());
        let (service, peer) = (self.service, self.name);
        match after {
            // A failed probe changes nothing for an operator.
            State::Open if before == State::HalfOpen => {}
            State::Open => {
                let (code, why) = (why.map(Error::code), why.map(ToString::to_string));
                let shares = || "too many calls fail or are slow".into();
                let why = why.unwrap_or_else(shares);
                tracing::warn!(%service, peer, cause, code, "circuit breaker opened, calls wait in the store: {why}");
            }
            State::HalfOpen => {
                tracing::debug!(%service, peer, "circuit breaker half open: one call probes the target");
            }
            State::Closed => {
                tracing::warn!(%service, peer, "circuit breaker closed: waiting calls go on");
            }
        }
    }
}

/// An attempt that the breaker has admitted. Dropping it without a result, because the attempt
/// panicked, has no effect on the breaker, except that a probe makes way for the next one.
pub(crate) struct Admitted {
    target: Arc<Target>,
    pass: Pass,
}

impl Admitted {
    /// Records that the target answered the attempt at `operation`, and the time that it took.
    pub(crate) fn answered(self, operation: &str, took: Duration, now: Timestamp) {
        let answered = |it: &mut Breaker| it.answered(self.pass, operation, took, now);
        self.target.changing(None, answered);
    }

    /// Records that the target did not answer the attempt at `operation`, and for how long it wants
    /// no other one.
    pub(crate) fn failed(
        self,
        operation: &str,
        why: &Error,
        retry_after: Option<Duration>,
        now: Timestamp,
    ) {
        self.target.changing(Some(why), |breaker| {
            if let Some(asked) = retry_after {
                breaker.wait_until(now + asked.min(self.target.policy.retry_after_max));
            }
            breaker.failed(self.pass, operation, now);
        });
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.target.breaker().released(self.pass);
    }
}
