//! Claims due records and passes them to their subscriptions and executors.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use wingbeat_core::store::DueRecord;
use wingbeat_core::{
    Envelope, Error, Kind, LogLimits, MessageId, Name, Result, RuntimeExt as _, Timestamp, sabotage,
};

use super::calling::Calling;
use super::delayed::Delayed;
use crate::call::{Executor, Target};
use crate::commit::Committer;
use crate::decode;
use crate::dispatch::{Origin, Work};
use crate::failed::{Failures, PARKED, Parked, REDRIVES, Redrives, WAITING, unpack};
use crate::replay::{REPLAYS, Replays};
use crate::runtime::Control;
use crate::schedule::{Firing, SCHEDULES};
use crate::unit::{
    CALLS, CallRecord, DELAYED, ServiceContext, TIMERS, TimerRecord, remove, run_unit,
};

/// The time for which a record stays claimed.
const LEASE: Duration = Duration::from_secs(30);
/// The records claimed at once.
const CLAIM_MAX: usize = 256;
/// The shortest pause between two claims. It grows up to [`IDLE`] while no record is due.
const SHORTEST: Duration = Duration::from_millis(1);
/// The shortest pause after several claims without a record.
const IDLE: Duration = Duration::from_millis(32);
/// The longest pause between two claims.
const POLL: Duration = Duration::from_millis(500);
/// The random part of that pause. Without it, a replica could claim a record that it cannot handle
/// each time the lease expires, and so keep it from the other replicas.
const POLL_SPREAD: Duration = Duration::from_millis(60);
/// The age at which a schedule without a handler is deleted. Until then, a replica of a newer
/// release may have one.
const FORGOTTEN: Duration = Duration::from_secs(24 * 3600);

/// The subscription that takes the due records of a queue.
pub(crate) struct DueQueue {
    pub(crate) sender: mpsc::Sender<Work>,
    pub(crate) control: watch::Receiver<Control>,
}

/// Claims due records of these services and passes them on.
pub(crate) struct DueRunner {
    pub(crate) committer: Arc<Committer>,
    pub(crate) services: BTreeMap<Name, Arc<ServiceContext>>,
    pub(crate) queues: BTreeMap<Name, DueQueue>,
    pub(crate) executors: BTreeMap<&'static str, (Executor, Arc<Target>)>,
    pub(crate) schedules: BTreeMap<(Name, &'static str), Firing>,
    pub(crate) replays: BTreeMap<Name, Arc<Replays>>,
    pub(crate) redrives: BTreeMap<Name, Arc<Redrives>>,
    pub(crate) control: watch::Receiver<Control>,
    /// Limits the log lines about records that cannot be handled.
    pub(crate) failures: Arc<LogLimits>,
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
            let soon = self.committer.due().take();
            let leased_until = runtime.elapsed() + LEASE;
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
                        self.hand_on(record, leased_until).await;
                    }
                    full
                }
                Err(why) => {
                    tracing::warn!(code = why.code(), "cannot claim due records: {why}");
                    false
                }
            };
            if full {
                continue;
            }
            // A record that is due by this clock but was not handed out is not durable yet, or the
            // store's clock is behind this one. Claim again soon, with growing pauses.
            shortest = if idle {
                (shortest * 2).min(IDLE)
            } else {
                SHORTEST
            };
            let poll = POLL - runtime.jitter(POLL_SPREAD);
            let until = |at: Timestamp, now| at.since(now).max(shortest).min(poll);
            let pause = soon.map_or(poll, |at| until(at, now));
            let until_next = match self.committer.store().next_due(&names).await {
                Ok(Some(at)) => until(at, runtime.now()),
                _ => poll,
            };
            tokio::select! {
                biased;
                changed = self.control.changed() => if changed.is_err() { return },
                () = self.committer.due().changed.notified() => {}
                () = runtime.sleep(pause.min(until_next)) => {}
            }
        }
    }

    async fn hand_on(&self, record: DueRecord, leased_until: Duration) {
        self.committer.doubt(&record);
        let handed = match record.key.table {
            TIMERS => self.timer(&record, leased_until).await,
            PARKED | WAITING => self.parked(&record, leased_until).await,
            CALLS => self.call(&record),
            DELAYED => self.delayed(&record),
            SCHEDULES => self.schedule(&record),
            REPLAYS => self.replay(&record),
            REDRIVES => self.redrive(&record),
            other => Err(Error::reject(
                "unknown_due",
                format!("no handler for due records of {other}"),
            )),
        };
        if let Err(why) = handed
            && let Some(service) = self.services.values().next()
            && let Some(suppressed) = self.failures.admit(why.code(), service.runtime.elapsed())
        {
            tracing::error!(service = %record.service, key = ?record.key, code = why.code(), suppressed, "a due record cannot be handled: {why}");
        }
    }

    async fn timer(&self, record: &DueRecord, leased_until: Duration) -> Result<()> {
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
            propagation: timer.propagation,
            signature: None,
            dialog: None,
            body: timer.body.get().as_bytes().to_vec().into(),
        };
        let work = Work {
            timer: Some(true),
            ..work(record, envelope, leased_until)
        };
        self.deliver(&timer.queue, record, work).await
    }

    async fn parked(&self, record: &DueRecord, leased_until: Duration) -> Result<()> {
        let parked: Parked = decode(&record.record.body)?;
        let envelope = unpack(&parked.envelope)
            .ok_or_else(|| Error::reject("undecodable", "a parked envelope cannot be read"))?;
        let work = Work {
            failures: parked.failures,
            broken: parked.broken,
            admitted: parked.admitted,
            suspect: parked.suspect,
            timer: parked.timer,
            retried: parked.retried,
            ..work(record, envelope, leased_until)
        };
        self.deliver(&parked.queue, record, work).await
    }

    async fn deliver(&self, queue: &str, record: &DueRecord, work: Work) -> Result<()> {
        let DueQueue { sender, control } =
            self.queues.get(&Name::intern(queue)).ok_or_else(|| {
                Error::reject("unknown_queue", format!("there is no subscription {queue}"))
            })?;
        if record.key.table == TIMERS && sabotage::lacks(sabotage::TIMER_ONCE) {
            let (envelope, origin) = (work.envelope.clone(), work.origin.clone());
            let twin = Work {
                timer: work.timer,
                ..Work::new(envelope, origin, Failures::default())
            };
            let _ = sender.send(twin).await;
        }
        // If the subscription has ended, or is paused and has enough waiting work, the lease
        // expires and the record is handed out again. Records of other subscriptions do not
        // wait.
        let mut control = control.clone();
        tokio::select! {
            biased;
            _ = sender.send(work) => {}
            _ = control.wait_for(|it| *it != Control::Running) => {}
        }
        Ok(())
    }

    fn call(&self, record: &DueRecord) -> Result<()> {
        let planned: CallRecord = decode(&record.record.body)?;
        let (executor, target) = self.executors.get(planned.name.as_str()).ok_or_else(|| {
            Error::reject(
                "unknown_call",
                format!("no executor for the call {}", planned.name),
            )
        })?;
        let service = self.service(record)?;
        let calling = Calling {
            service: Arc::clone(service),
            executor: executor.clone(),
            target: Arc::clone(target),
            record: record.clone(),
            planned,
            tape: Mutex::default(),
        };
        service.runtime.spawn(Box::pin(calling.run()));
        Ok(())
    }

    fn delayed(&self, record: &DueRecord) -> Result<()> {
        let service = self.service(record)?;
        let delayed = Delayed {
            service: Arc::clone(service),
            record: record.clone(),
            failures: Arc::clone(&self.failures),
        };
        service.runtime.spawn(Box::pin(delayed.run()));
        Ok(())
    }

    fn schedule(&self, record: &DueRecord) -> Result<()> {
        let of = |((service, name), _): &(&(Name, &str), &Firing)| {
            *service == record.service && *name == record.key.id
        };
        if let Some((_, firing)) = self.schedules.iter().find(of) {
            let fire = firing.clone().fire(record.clone());
            firing.service.runtime.spawn(Box::pin(fire));
            return Ok(());
        }
        let service = self.service(record)?;
        let due = record.record.due_at.unwrap_or_default();
        if service.runtime.now().since(due) < FORGOTTEN {
            return Err(Error::reject(
                "unknown_schedule",
                format!("{} has no schedule {}", record.service, record.key.id),
            ));
        }
        let forget = forget(Arc::clone(service), record.clone());
        service.runtime.spawn(Box::pin(forget));
        Ok(())
    }

    fn replay(&self, record: &DueRecord) -> Result<()> {
        let service = self.service(record)?;
        let replays = self.replays.get(&record.service).ok_or_else(|| {
            let service = record.service;
            let text = format!("{service} publishes no history: it cannot be replayed");
            Error::reject("unknown_history", text)
        })?;
        let next = Arc::clone(replays).next(record.clone());
        service.runtime.spawn(Box::pin(next));
        Ok(())
    }

    fn redrive(&self, record: &DueRecord) -> Result<()> {
        let service = self.service(record)?;
        let redrives = self.redrives.get(&record.service).ok_or_else(|| {
            let text = format!("{} has no subscription", record.service);
            Error::reject("unknown_subscription", text)
        })?;
        let next = Arc::clone(redrives).next(record.clone());
        service.runtime.spawn(Box::pin(next));
        Ok(())
    }

    fn service(&self, record: &DueRecord) -> Result<&Arc<ServiceContext>> {
        self.services.get(&record.service).ok_or_else(|| {
            Error::reject(
                "unknown_service",
                format!("{} does not run here", record.service),
            )
        })
    }
}

/// Deletes a schedule for which no replica has had a handler for a day.
async fn forget(service: Arc<ServiceContext>, record: DueRecord) {
    let key = &record.key;
    let removed = run_unit(&service, |scope| async move {
        scope.load(key).await?;
        scope.write(remove(key.clone()))
    });
    match removed.await {
        Ok(()) => {
            tracing::warn!(service = %service.name, schedule = key.id, "a schedule without a handler was deleted");
        }
        Err(why) => {
            tracing::warn!(service = %service.name, schedule = key.id, code = why.code(), "a schedule without a handler cannot be deleted: {why}");
        }
    }
}

fn work(record: &DueRecord, envelope: Envelope, leased_until: Duration) -> Work {
    let (key, body) = (record.key.clone(), record.record.body.clone());
    Work {
        leased_until: Some(leased_until),
        ..Work::new(envelope, Origin::Due { key, body }, Failures::default())
    }
}
