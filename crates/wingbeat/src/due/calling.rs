//! Attempts at outside calls.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use wingbeat_core::outgoing::{Request, Response};
use wingbeat_core::store::DueRecord;
use wingbeat_core::{
    BoxFuture, Class, Error, HttpClient, MessageId, Result, RuntimeExt as _, Timestamp,
    TraceParent, failpoint, sabotage,
};

use crate::call::{Admitted, CallContext, Executor, Remarks, Target, TargetReport};
use crate::recording::{Body, Input, Recorder, Tape};
use crate::state::Reads;
use crate::telemetry::{self, Called, Context};
use crate::unit::{self, Attempt, CallRecord, Meta, Scope, ServiceContext, due, remove};
use crate::{Effects, encode};

/// The time for which a call waits in memory for a place in the bulkhead. The lease of its record
/// leaves an attempt after that.
const PLACE_WITHIN: Duration = Duration::from_secs(20);
/// The time for which a call waits in memory until the rate of its target allows it.
const TURN_WITHIN: Duration = Duration::from_secs(2);
/// The pause in the store after that, before the random part.
const TURN_PAUSE: Duration = Duration::from_secs(3);

/// A call that is due, and the means to carry it out.
pub(super) struct Calling {
    pub(super) service: Arc<ServiceContext>,
    pub(super) executor: Executor,
    pub(super) target: Arc<Target>,
    pub(super) record: DueRecord,
    pub(super) planned: CallRecord,
    /// The recording of the attempt, if the service records.
    pub(super) tape: Mutex<Option<Tape>>,
}

impl Calling {
    pub(super) async fn run(self) {
        let runtime = &self.service.runtime;
        let place = self.target.place(self.executor.priority);
        let Some(_place) = runtime.timeout(PLACE_WITHIN, place).await else {
            return self.wait_in_store().await;
        };
        let turn = runtime.timeout(TURN_WITHIN, self.target.turn()).await;
        if turn.is_none() {
            return self.wait_in_store().await;
        }
        let now = runtime.now();
        let admitted = match self.target.admit(now) {
            Ok(admitted) => admitted,
            Err(at) => {
                // Spread the calls, so that a healed target does not receive all of them at once.
                let spread = self.service.runtime.jitter(self.target.policy.breaker_open);
                return self.wait(at + spread, self.planned.attempts).await;
            }
        };
        let own = || TraceParent::of(self.planned.correlation.0);
        let parent = self.planned.traceparent.unwrap_or_else(own);
        let context = Context {
            trace: parent.child(self.service.runtime.random()),
            correlation: Some(self.planned.correlation),
            causation: Some(MessageId(self.planned.id)),
        };
        let span = telemetry::calling(&self.called(), context.trace);
        context.run(span, Box::pin(self.attempt(admitted))).await;
    }

    /// Returns the call to the store until its target may have room for it.
    async fn wait_in_store(&self) {
        let runtime = &self.service.runtime;
        let at = runtime.now() + TURN_PAUSE + runtime.jitter(TURN_PAUSE);
        let attempts = self.planned.attempts;
        self.wait(at, attempts).await;
    }

    fn called(&self) -> Called<'_> {
        Called {
            service: self.service.name,
            target: self.target.name,
            name: &self.planned.name,
            operation: &self.planned.operation,
            attempts: self.planned.attempts,
            correlation: self.planned.correlation,
            parent: self.planned.traceparent,
        }
    }

    async fn attempt(self, admitted: Admitted) {
        let report = TargetReport::default();
        let scope = self.scope();
        let http = self.recorded(&scope);
        let cx = CallContext {
            operation: idempotency_key(&self.planned),
            attempts: self.planned.attempts,
            http,
            policy: self.target.policy.clone(),
            report: report.clone(),
            reads: Reads::within(&scope),
            propagation: self.planned.propagation.clone(),
        };
        let began = self.service.runtime.elapsed();
        failpoint::reached(failpoint::CALL_BEFORE);
        let attempt = (self.executor.attempt)(cx, self.planned.body.get().as_bytes());
        let timeout = self.target.policy.timeout;
        let answer = self.service.runtime.timeout(timeout, attempt).await;
        *self.tape() = scope.take_recording();
        let took = self.service.runtime.elapsed().saturating_sub(began);
        self.target.measure(answer.as_ref(), took);
        let answer = answer.unwrap_or_else(|| {
            let text = "no answer in time: the outcome is unknown";
            Err(Error::retry("timeout", text))
        });
        // An outcome that cannot be sent is a failure of the call.
        let bodies = self.service.bodies.as_ref();
        let answer = answer.and_then(|effects| effects.within_limits(bodies));
        failpoint::reached(failpoint::CALL_AFTER);
        match answer {
            Ok(effects) => {
                let now = self.service.runtime.now();
                admitted.answered(&self.planned.operation, took, now);
                if let Err(why) = self.finish(effects).await {
                    self.failed(&why, Remarks::default()).await;
                }
            }
            Err(why) => {
                let remarks = report.remarks();
                let now = self.service.runtime.now();
                let operation = &self.planned.operation;
                // A rejection is an answer: the target is up.
                if why.class() == Class::Reject || remarks.answered {
                    admitted.answered(operation, took, now);
                } else {
                    admitted.failed(operation, &why, remarks.retry_after, now);
                }
                self.failed(&why, remarks).await;
            }
        }
    }

    /// Gives the call up, or delays it for its next attempt.
    async fn failed(&self, why: &Error, remarks: Remarks) {
        telemetry::failed_on(&tracing::Span::current(), why.code());
        let now = self.service.runtime.now();
        tracing::debug!(call = %self.planned.name, operation = %self.planned.operation, code = why.code(), "an outside call failed: {why}");
        let too_old = now.since(self.planned.first_at) >= self.target.policy.give_up_after;
        if (why.class() == Class::Reject || too_old) && self.give_up(why).await {
            return;
        }
        let policy = &self.target.policy;
        let pause = policy
            .backoff
            .saturating_mul(1 << self.planned.attempts.min(16))
            .min(policy.backoff_max);
        let mut at = now + pause + self.service.runtime.jitter(pause / 2);
        if let Some(asked) = remarks.retry_after {
            // The last attempt is due when the call is old enough to be given up.
            let last = self.planned.first_at + policy.give_up_after;
            let asked = (now + asked.min(policy.retry_after_max)).min(last);
            at = at.max(asked + self.service.runtime.jitter(pause / 2));
        }
        self.wait(at, self.planned.attempts + 1).await;
    }

    /// Replaces the call by its outcome for calls that were given up. Returns `false` if that
    /// cannot be stored now.
    async fn give_up(&self, why: &Error) -> bool {
        let (call, operation) = (&self.planned.name, &self.planned.operation);
        if let Some(tape) = self.tape().as_mut() {
            tape.gave_up(why);
        }
        let outcome = (self.executor.give_up)(self.planned.body.get().as_bytes(), why);
        let finished = match outcome {
            Ok(effects) => self.finish(effects).await,
            Err(cannot) => Err(cannot),
        };
        if let Err(cannot) = finished {
            tracing::error!(%call, %operation, code = cannot.code(), "an outside call cannot be given up, trying again later: {cannot}");
            return false;
        }
        self.target.gave_up(why.code());
        if let Some(suppressed) = self
            .target
            .given_up
            .admit(why.code(), self.service.runtime.elapsed())
        {
            tracing::warn!(%call, %operation, peer = self.target.name, code = why.code(), attempts = self.planned.attempts + 1, suppressed, "an outside call was given up: {why}");
        }
        true
    }

    fn tape(&self) -> MutexGuard<'_, Option<Tape>> {
        self.tape.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to record the attempt, if the service records, and returns the HTTP client for it.
    fn recorded(&self, scope: &Scope) -> Arc<dyn HttpClient> {
        let http = Arc::clone(&self.service.http);
        let planned = &self.planned;
        let tape = |it: &Recorder| {
            let input = Input::Call {
                name: planned.name.clone(),
                operation: planned.operation.clone(),
                attempts: planned.attempts,
                id: planned.id,
                since: planned.first_at,
                body: Body::of(planned.body.get().as_bytes()),
                answers: Vec::new(),
                gave_up: None,
            };
            Tape::new(it, input)
        };
        if self.service.recorder.is_none() || scope.record_attempt(tape).is_err() {
            return http;
        }
        let scope = scope.clone();
        Arc::new(RecordingClient { http, scope })
    }

    fn scope(&self) -> Scope {
        let meta = Meta {
            correlation: self.planned.correlation,
            message: Some(MessageId(self.planned.id)),
            operation: Some(self.planned.operation.clone()),
            sequence: None,
            time: self.planned.first_at,
            propagation: self.planned.propagation.clone(),
            replayed: false,
        };
        Scope::new(Arc::clone(&self.service), meta)
    }

    /// Stores the call again, due at `at`.
    async fn wait(&self, at: Timestamp, attempts: u32) {
        let record = CallRecord {
            attempts,
            name: self.planned.name.clone(),
            operation: self.planned.operation.clone(),
            propagation: self.planned.propagation.clone(),
            body: self.planned.body.clone(),
            ..self.planned
        };
        let body = encode(&record);
        let key = &self.record.key;
        let waits = self.commit(|scope| scope.write(due(key.clone(), body.clone(), at)));
        if let Err(why) = waits.await {
            // The lease expires, and the call is attempted again under its idempotency key.
            tracing::warn!(call = %self.planned.name, code = why.code(), "cannot store an outside call for its next attempt: {why}");
        }
    }

    /// Removes the call and publishes its outcome, in one unit.
    async fn finish(&self, effects: Effects) -> Result<()> {
        let key = &self.record.key;
        self.commit(|scope| {
            scope.write(remove(key.clone()))?;
            if let Some(tape) = self.tape().clone() {
                scope.record_on(tape, None)?;
            }
            scope.record(effects.clone())
        })
        .await
    }

    /// Commits a unit, unless another attempt has finished or replaced the call.
    async fn commit(&self, build: impl Fn(&Scope) -> Result<()> + Send + Sync) -> Result<()> {
        let build = &build;
        unit::run(&self.service, || async move {
            let scope = self.scope();
            let answer = async {
                let loaded = scope.load(&self.record.key).await?;
                if loaded.body.as_ref() == Some(&self.record.record.body) {
                    build(&scope)?;
                }
                Ok(())
            };
            Attempt {
                answer: answer.await,
                scope,
                settles: None,
            }
        })
        .await
    }
}

/// Notes the answers of an outside system on the recording of an attempt.
struct RecordingClient {
    http: Arc<dyn HttpClient>,
    scope: Scope,
}

impl HttpClient for RecordingClient {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response>> {
        Box::pin(async move {
            let answer = self.http.send(request).await;
            self.scope.note(|tape| tape.answered(&answer));
            answer
        })
    }
}

/// Returns the idempotency key of a call, which all attempts share.
fn idempotency_key(planned: &CallRecord) -> String {
    if sabotage::lacks(sabotage::CALL_KEY) {
        return format!("{}-{}", planned.operation, planned.attempts);
    }
    planned.operation.clone()
}
