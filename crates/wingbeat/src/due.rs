//! Timers, parked deliveries and calls: records that the store hands out when they are due.

mod wake;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use wingbeat_core::store::DueRecord;
use wingbeat_core::unit::Write;
use wingbeat_core::{
    Class, Envelope, Error, Kind, MessageId, Name, Result, RuntimeExt as _, Timestamp, TraceParent,
    failpoint, sabotage,
};

use crate::breaker::{Admission, Breaker, State};
use crate::call::{CallContext, CallRecord, Executor};
use crate::committer::Committer;
use crate::dead::{self, Parked};
use crate::dispatch::{Control, Origin, Work};
use crate::meters::TargetMeter;
use crate::saga::{TIMERS, TimerRecord};
use crate::scope::{ServiceContext, due};
use crate::telemetry::{self, Context};
use crate::{Effects, Meta, Scope, TargetPolicy, call, decode, encode};

pub(crate) use wake::DueWake;

/// How long a claimed record is nobody else's.
const LEASE: Duration = Duration::from_secs(30);
/// Records claimed at once.
const CLAIM_MAX: usize = 256;
/// The shortest pause between looks at the store…
const SHORTEST: Duration = Duration::from_millis(1);
/// …which grows up to this while nothing is handed out.
const PATIENT: Duration = Duration::from_millis(32);
/// The longest pause between looks at the store.
const POLL: Duration = Duration::from_millis(500);

/// An outside system: its bulkhead and its breaker, shared by all calls to it.
pub struct Target {
    /// The service that calls it.
    pub service: Name,
    /// Its name.
    pub name: &'static str,
    policy: TargetPolicy,
    bulkhead: Arc<Semaphore>,
    breaker: Mutex<Breaker>,
    meter: TargetMeter,
}

impl Target {
    pub(crate) fn new(
        service: Name,
        name: &'static str,
        policy: TargetPolicy,
        now: Timestamp,
    ) -> Arc<Self> {
        let breaker = Mutex::new(Breaker::new(
            policy.breaker_failures,
            policy.breaker_open,
            now,
        ));
        Arc::new(Self {
            service,
            name,
            bulkhead: Arc::new(Semaphore::new(policy.concurrency)),
            policy,
            breaker,
            meter: TargetMeter::new(service, name),
        })
    }

    /// The breaker's state and since when.
    pub fn state(&self) -> (State, Timestamp) {
        self.breaker().state()
    }

    fn breaker(&self) -> std::sync::MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands due records to those who wait for them.
pub(crate) struct DueRunner {
    pub(crate) committer: Arc<Committer>,
    pub(crate) services: BTreeMap<Name, Arc<ServiceContext>>,
    pub(crate) queues: BTreeMap<Name, mpsc::Sender<Work>>,
    pub(crate) executors: BTreeMap<&'static str, (Executor, Arc<Target>)>,
    pub(crate) wake: Arc<DueWake>,
    pub(crate) control: watch::Receiver<Control>,
}

impl DueRunner {
    pub(crate) async fn run(mut self) {
        let names: Vec<Name> = self.services.keys().copied().collect();
        let first = self.services.values().next();
        let Some(runtime) = first.map(|it| Arc::clone(&it.runtime)) else {
            return;
        };
        let mut shortest = SHORTEST;
        loop {
            if *self.control.borrow() == Control::Draining {
                return;
            }
            let now = runtime.now();
            let soon = self.wake.take();
            let claimed = self
                .committer
                .store()
                .claim_due(&names, now, LEASE, CLAIM_MAX)
                .await;
            let mut idle = true;
            let full = match claimed {
                Ok(records) => {
                    idle = records.is_empty();
                    let full = records.len() == CLAIM_MAX;
                    for record in records {
                        self.hand_on(record).await;
                    }
                    full
                }
                Err(why) => {
                    tracing::warn!("cannot look for due records: {why}");
                    false
                }
            };
            if full {
                continue;
            }
            // What is due by this clock and was not handed out is not durable yet, or the store's clock is
            // behind this one: look again shortly, and ever less often.
            shortest = match idle {
                true => (shortest * 2).min(PATIENT),
                false => SHORTEST,
            };
            let until = |at: Timestamp, now| at.since(now).max(shortest).min(POLL);
            let pause = soon.map_or(POLL, |at| until(at, now));
            let until_next = match self.committer.store().next_due(&names).await {
                Ok(Some(at)) => until(at, runtime.now()),
                _ => POLL,
            };
            tokio::select! {
                biased;
                changed = self.control.changed() => if changed.is_err() { return },
                () = self.wake.changed.notified() => {}
                () = runtime.sleep(pause.min(until_next)) => {}
            }
        }
    }

    async fn hand_on(&self, record: DueRecord) {
        self.committer.doubt(&record);
        let handed = match record.key.table {
            TIMERS => self.timer(&record).await,
            dead::PARKED => self.parked(&record).await,
            call::TABLE => self.call(&record),
            other => Err(Error::reject(
                "unknown_due",
                format!("nobody handles due records of {other}"),
            )),
        };
        if let Err(why) = handed {
            tracing::error!(service = %record.service, key = ?record.key, "a due record cannot be handled: {why}");
        }
    }

    async fn timer(&self, record: &DueRecord) -> Result<()> {
        let timer: TimerRecord = decode(&record.record.body)?;
        let envelope = Envelope {
            id: MessageId(timer.id),
            source: record.service.as_str().into(),
            kind: timer.message.into(),
            role: Kind::Event,
            key: timer.key,
            time: record.record.due_at.unwrap_or_default(),
            correlation: timer.correlation,
            causation: None,
            sequence: None,
            operation: None,
            traceparent: timer.traceparent,
            body: timer.body.get().as_bytes().to_vec().into(),
        };
        self.deliver(&timer.queue, record, work(record, envelope))
            .await
    }

    async fn parked(&self, record: &DueRecord) -> Result<()> {
        let parked: Parked = decode(&record.record.body)?;
        let envelope = dead::unpack(&parked.envelope)
            .ok_or_else(|| Error::reject("undecodable", "a parked envelope cannot be read"))?;
        let work = Work {
            failures: parked.failures,
            broken: parked.broken,
            ..work(record, envelope)
        };
        self.deliver(&parked.queue, record, work).await
    }

    async fn deliver(&self, queue: &str, record: &DueRecord, work: Work) -> Result<()> {
        let sender = self.queues.get(&Name::intern(queue)).ok_or_else(|| {
            Error::reject("unknown_queue", format!("there is no subscription {queue}"))
        })?;
        if record.key.table == TIMERS && sabotage::lacks(sabotage::TIMER_ONCE) {
            drop(sender.send(work.clone()).await);
        }
        // A subscription that is gone or full lets the lease run out: the record comes again.
        drop(sender.send(work).await);
        Ok(())
    }

    fn call(&self, record: &DueRecord) -> Result<()> {
        let planned: CallRecord = decode(&record.record.body)?;
        let (executor, target) = self.executors.get(planned.name.as_str()).ok_or_else(|| {
            Error::reject(
                "unknown_call",
                format!("nobody carries out {}", planned.name),
            )
        })?;
        let service = self.services.get(&record.service).ok_or_else(|| {
            Error::reject(
                "unknown_service",
                format!("{} does not run here", record.service),
            )
        })?;
        let calling = Calling {
            service: Arc::clone(service),
            executor: executor.clone(),
            target: Arc::clone(target),
            record: record.clone(),
            planned,
        };
        service.runtime.spawn(Box::pin(calling.run()));
        Ok(())
    }
}

fn work(record: &DueRecord, envelope: Envelope) -> Work {
    let (key, body) = (record.key.clone(), record.record.body.clone());
    Work::new(
        envelope,
        Origin::Due { key, body },
        dead::Failures::default(),
    )
}

/// One attempt at one call.
struct Calling {
    service: Arc<ServiceContext>,
    executor: Executor,
    target: Arc<Target>,
    record: DueRecord,
    planned: CallRecord,
}

impl Calling {
    async fn run(self) {
        let Ok(_place) = Arc::clone(&self.target.bulkhead).acquire_owned().await else {
            return;
        };
        let now = self.service.runtime.now();
        let admission = self.target.breaker().admit(now);
        if let Admission::WaitUntil(at) = admission {
            // Spread out, so that a healed target is not met by all of them at once.
            let spread = self.service.runtime.jitter(self.target.policy.breaker_open);
            return self.wait(at + spread, self.planned.attempts).await;
        }
        let own = || TraceParent::of(self.planned.correlation.0);
        let parent = self.planned.traceparent.unwrap_or_else(own);
        let context = Context {
            trace: parent.child(self.service.runtime.random()),
            correlation: Some(self.planned.correlation),
            causation: Some(MessageId(self.planned.id)),
        };
        let (of, trace) = (self.service.name, context.trace);
        let span = telemetry::calling(&self.planned, self.target.name, of, trace);
        context.run(span, Box::pin(self.attempt())).await;
    }

    async fn attempt(self) {
        let cx = CallContext {
            operation: operation(&self.planned),
            attempts: self.planned.attempts,
            http: Arc::clone(&self.service.http),
            policy: self.target.policy.clone(),
        };
        let began = self.service.runtime.elapsed();
        failpoint::reached(failpoint::CALL_BEFORE);
        let attempt = (self.executor.attempt)(cx, self.planned.body.get().as_bytes());
        let answer = self
            .service
            .runtime
            .timeout(self.target.policy.timeout, attempt)
            .await;
        let took = self.service.runtime.elapsed().saturating_sub(began);
        self.target.meter.called(answer.as_ref(), took);
        let answer = answer.unwrap_or_else(|| {
            Err(Error::retry(
                "timeout",
                "no answer in time: the outcome is unknown",
            ))
        });
        failpoint::reached(failpoint::CALL_AFTER);
        let now = self.service.runtime.now();
        match answer {
            Ok(effects) => {
                self.target.breaker().succeeded(now);
                self.finish(effects).await;
            }
            Err(why) => self.failed(&why, now).await,
        }
    }

    async fn failed(&self, why: &Error, now: Timestamp) {
        telemetry::failed_on(&tracing::Span::current(), why.code());
        let policy = &self.target.policy;
        let hopeless = why.class() == Class::Reject
            || now.since(self.planned.first_at) >= policy.give_up_after;
        if why.class() == Class::Retry {
            self.target.breaker().failed(&self.planned.operation, now);
        } else {
            self.target.breaker().succeeded(now);
        }
        tracing::debug!(call = %self.planned.name, operation = %self.planned.operation, "a call failed: {why}");
        if hopeless {
            match (self.executor.give_up)(self.planned.body.get().as_bytes(), why) {
                Ok(effects) => return self.finish(effects).await,
                Err(why) => {
                    tracing::error!(call = %self.planned.name, "a call cannot be given up: {why}")
                }
            }
        }
        let pause = policy
            .backoff
            .saturating_mul(1 << self.planned.attempts.min(16))
            .min(policy.backoff_max);
        let at = now + pause + self.service.runtime.jitter(pause / 2);
        self.wait(at, self.planned.attempts + 1).await;
    }

    fn scope(&self) -> Scope {
        let meta = Meta {
            correlation: self.planned.correlation,
            message: Some(MessageId(self.planned.id)),
            operation: Some(self.planned.operation.clone()),
            sequence: None,
            time: self.planned.first_at,
        };
        Scope::new(Arc::clone(&self.service), meta)
    }

    /// Puts the call back to wait in the store.
    async fn wait(&self, at: Timestamp, attempts: u32) {
        let record = CallRecord {
            attempts,
            name: self.planned.name.clone(),
            operation: self.planned.operation.clone(),
            body: self.planned.body.clone(),
            ..self.planned
        };
        let body = encode(&record);
        self.commit(|scope| scope.write(due(self.record.key.clone(), body.clone(), at)))
            .await;
        self.service.due.at(at);
    }

    /// Removes the call and publishes its outcome, in one unit.
    async fn finish(&self, effects: Effects) {
        let mut effects = Some(effects);
        self.commit(|scope| {
            scope.write(Write {
                key: self.record.key.clone(),
                body: None,
                due_at: None,
                expires_at: None,
            })?;
            scope.record(effects.take().unwrap_or_default())
        })
        .await;
    }

    /// Commits a unit unless the call was finished or replaced in the meantime.
    async fn commit(&self, build: impl FnOnce(&Scope) -> Result<()>) {
        let scope = self.scope();
        let unit = async {
            let loaded = scope.load(&self.record.key).await?;
            if loaded.body.as_ref() != Some(&self.record.record.body) {
                return Err(Error::reject(
                    "superseded",
                    "another attempt has ended this call",
                ));
            }
            build(&scope)?;
            scope.seal(None)
        };
        match unit.await {
            // Stale or unknown: the lease runs out and the call is attempted again under its key.
            Ok(unit) => drop(self.service.committer.commit(unit).await),
            Err(why) => {
                tracing::debug!(call = %self.planned.name, "an attempt's result is not needed: {why}")
            }
        }
    }
}

/// The idempotency key of a call: the same over all attempts.
fn operation(planned: &CallRecord) -> String {
    if sabotage::lacks(sabotage::CALL_KEY) {
        return format!("{}-{}", planned.operation, planned.attempts);
    }
    planned.operation.clone()
}
