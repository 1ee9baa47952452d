//! The one thread that writes: it takes what has come in the meantime and commits it as one group.

mod apart;
mod batch;
mod columns;
mod retain;

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use wingbeat_core::transport::Refused;
use wingbeat_core::unit::Outcome;
use wingbeat_core::{Envelope, Error, Key, Name, Result, Timestamp, Topology, Unit};

use self::batch::{Batch, Doomed};
pub(crate) use self::columns::decode as decode_columns;
use crate::broker::Broker;
use crate::due::Leases;
use crate::fault::{Cause, Fault, abort_after_failed_fsync, closed};
use crate::guard::Guard;
use crate::id::RecordKey;
use crate::intake::Intake;
use crate::names::{NONE, Names, Space};
use crate::recent::Recent;
use crate::stats::Counters;

/// Callers beyond this wait themselves.
const QUEUED_MAX: usize = 4096;

type Reply<T> = oneshot::Sender<Result<T>>;

/// What the thread is asked to do.
enum Job {
    Commit(Arc<Vec<Unit>>, Reply<Vec<Outcome>>),
    Publish(Vec<Envelope>, Reply<Vec<std::result::Result<(), Refused>>>),
    /// Rows that were acknowledged without a unit.
    Delete(Vec<u64>),
    /// Services and queues, and unroutable commands that have a queue now.
    Declare(Vec<Name>, Topology, Reply<()>),
    Retain(Timestamp, Reply<u64>),
    /// A write that shows whether writing works again.
    Probe,
}

impl Job {
    fn units(&self) -> usize {
        match self {
            Self::Commit(units, _) => units.len(),
            Self::Publish(messages, _) => messages.len(),
            Self::Delete(rows) => rows.len(),
            Self::Declare(..) | Self::Retain(..) | Self::Probe => 1,
        }
    }
}

/// What the thread shares with readers and consumers.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) names: Arc<Names>,
    pub(crate) broker: Arc<Broker>,
    pub(crate) recent: Arc<Recent>,
    pub(crate) leases: Arc<Leases>,
    pub(crate) intake: Arc<Intake>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) guard: Arc<Guard>,
}

impl Shared {
    fn key(&self, service: Name, key: &Key) -> RecordKey {
        let table = self.names.number_under(service, Space::Table, key.table);
        RecordKey::new(table, key)
    }
}

/// A handle on the thread. Dropped, the thread finishes what it has and ends.
pub(crate) struct Writer {
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    pub(crate) fn start(connection: Connection, shared: Shared, batch_max: usize) -> Result<Self> {
        let (jobs, incoming) = mpsc::channel(QUEUED_MAX);
        let thread = std::thread::Builder::new().name("wb-writer".into());
        let thread = thread
            .spawn(move || run(connection, &shared, incoming, batch_max))
            .map_err(|e| Error::retry("store_failed", "cannot start a thread").because(e))?;
        Ok(Self {
            jobs: Mutex::new(Some(jobs)),
            thread: Mutex::new(Some(thread)),
        })
    }

    fn sender(&self) -> Result<mpsc::Sender<Job>> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.clone().ok_or_else(closed)
    }

    async fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T> {
        let (reply, answer) = oneshot::channel();
        let sender = self.sender()?;
        sender.send(job(reply)).await.map_err(|_| closed())?;
        drop(sender);
        answer.await.map_err(|_| closed())?
    }

    pub(crate) async fn commit(&self, units: Arc<Vec<Unit>>) -> Result<Vec<Outcome>> {
        self.ask(|reply| Job::Commit(units, reply)).await
    }

    pub(crate) async fn publish(
        &self,
        messages: Vec<Envelope>,
    ) -> Result<Vec<std::result::Result<(), Refused>>> {
        self.ask(|reply| Job::Publish(messages, reply)).await
    }

    pub(crate) async fn declare(&self, services: Vec<Name>, topology: Topology) -> Result<()> {
        self.ask(|reply| Job::Declare(services, topology, reply))
            .await
    }

    pub(crate) async fn retain(&self, now: Timestamp) -> Result<u64> {
        self.ask(|reply| Job::Retain(now, reply)).await
    }

    /// Deletes rows without waiting. If the process ends before, they are delivered again, as promised.
    pub(crate) fn delete(&self, rows: Vec<u64>) {
        self.try_send(Job::Delete(rows));
    }

    pub(crate) fn probe(&self) {
        self.try_send(Job::Probe);
    }

    fn try_send(&self, job: Job) {
        if let Ok(sender) = self.sender()
            && let Err(error) = sender.try_send(job)
        {
            tracing::debug!(%error, "the writer is busy");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(
            self.jobs
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(thread) = thread
            && thread.thread().id() != std::thread::current().id()
        {
            let _ = thread.join();
        }
    }
}

fn run(
    mut connection: Connection,
    shared: &Shared,
    mut incoming: mpsc::Receiver<Job>,
    batch_max: usize,
) {
    while let Some(first) = incoming.blocking_recv() {
        let mut count = first.units();
        let mut jobs = vec![first];
        while count < batch_max {
            let Ok(job) = incoming.try_recv() else { break };
            count += job.units();
            jobs.push(job);
        }
        group(&mut connection, shared, jobs, count);
    }
    // Folds the log into the main file, so that the next start has nothing to recover.
    let _ = connection.pragma_update(None, "wal_checkpoint", "TRUNCATE");
}

/// Commits jobs as one transaction, and answers them.
fn group(connection: &mut Connection, shared: &Shared, jobs: Vec<Job>, count: usize) {
    let began = Instant::now();
    let mut result = together(connection, shared, &jobs, &Doomed::default());
    if matches!(&result, Err(fault) if fault.cause == Cause::ForeignKey) {
        result = match &jobs[..] {
            [Job::Commit(units, _)] => apart::apart(connection, shared, units),
            // Whoever has nothing to do with it need not wait for it.
            [_, _, ..] => {
                for job in jobs {
                    let count = job.units();
                    group(connection, shared, vec![job], count);
                }
                return;
            }
            _ => result,
        };
    }
    if let Err(fault) = &result {
        shared.intake.wrote(false);
        tracing::error!(
            error = fault.message,
            "a write failed; nothing of it was kept"
        );
    }
    match result {
        Ok(done) => {
            shared.counters.batch(count, began.elapsed(), done.wrote);
            for (job, answer) in jobs.into_iter().zip(done.answers) {
                answer.give(job);
            }
        }
        Err(fault) => {
            for job in jobs {
                refuse(job, &fault);
            }
        }
    }
}

/// Commits jobs as one transaction; if a unit poisons it, once more with every unit on its own savepoint, and
/// without those whose statements ended it.
fn together(
    connection: &mut Connection,
    shared: &Shared,
    jobs: &[Job],
    doomed: &Doomed,
) -> std::result::Result<Done, Fault> {
    let mut careful = false;
    loop {
        let before = doomed.count();
        let result = transact(connection, shared, jobs, careful, doomed);
        let poisoned = matches!(&result, Err(fault) if fault.cause == Cause::Poison);
        if result.is_ok() || (before == doomed.count() && (careful || !poisoned)) {
            return result;
        }
        careful |= before == doomed.count();
    }
}

struct Done {
    answers: Vec<Answer>,
    wrote: bool,
}

enum Answer {
    Outcomes(Vec<Outcome>),
    Published(Vec<std::result::Result<(), Refused>>),
    Retained(u64),
    Nothing,
}

impl Answer {
    fn give(self, job: Job) {
        match (job, self) {
            (Job::Commit(_, reply), Self::Outcomes(outcomes)) => drop(reply.send(Ok(outcomes))),
            (Job::Publish(_, reply), Self::Published(answers)) => drop(reply.send(Ok(answers))),
            (Job::Retain(_, reply), Self::Retained(count)) => drop(reply.send(Ok(count))),
            (Job::Declare(.., reply), _) => drop(reply.send(Ok(()))),
            _ => {}
        }
    }
}

fn refuse(job: Job, fault: &Fault) {
    match job {
        Job::Commit(_, reply) => drop(reply.send(Err(fault.to_error()))),
        Job::Publish(_, reply) => drop(reply.send(Err(fault.to_error()))),
        Job::Declare(.., reply) => drop(reply.send(Err(fault.to_error()))),
        Job::Retain(_, reply) => drop(reply.send(Err(fault.to_error()))),
        Job::Delete(_) | Job::Probe => {}
    }
}

/// What a transaction changes in memory once it is durable.
fn transact(
    connection: &mut Connection,
    shared: &Shared,
    jobs: &[Job],
    careful: bool,
    doomed: &Doomed,
) -> std::result::Result<Done, Fault> {
    let names = &shared.names;
    let work = |connection: &Connection| -> rusqlite::Result<_> {
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let mut batch = Batch::new(connection, shared, careful, doomed);
        let answers = jobs
            .iter()
            .map(|job| apply(&mut batch, job))
            .collect::<rusqlite::Result<Vec<_>>>()?;
        let effects = batch.finish()?;
        let named = names.write_new(connection)?;
        connection.prepare_cached("COMMIT")?.execute([])?;
        Ok((answers, effects, named))
    };
    match work(connection) {
        Ok((answers, effects, named)) => {
            names.wrote(named);
            shared.intake.wrote(true);
            let wrote = effects.wrote;
            effects.show(shared);
            Ok(Done { answers, wrote })
        }
        Err(error) => {
            let fault = Fault::of(&error);
            if fault.cause == Cause::Fsync {
                abort_after_failed_fsync(&fault);
            }
            if !connection.is_autocommit() {
                let _ = connection.execute_batch("ROLLBACK");
            }
            Err(fault)
        }
    }
}

fn apply(batch: &mut Batch<'_>, job: &Job) -> rusqlite::Result<Answer> {
    Ok(match job {
        Job::Commit(units, _) => Answer::Outcomes(
            units
                .iter()
                .map(|unit| batch.unit(unit))
                .collect::<rusqlite::Result<_>>()?,
        ),
        Job::Publish(messages, _) => Answer::Published(batch.publish(messages)?),
        Job::Delete(rows) => {
            for row in rows {
                batch.delete_row(*row)?;
            }
            Answer::Nothing
        }
        Job::Declare(services, topology, _) => {
            batch.declare(services, topology)?;
            Answer::Nothing
        }
        Job::Retain(now, _) => Answer::Retained(retain::retain(batch, *now)?),
        Job::Probe => {
            batch.probe()?;
            Answer::Nothing
        }
    })
}

/// The inbox scope of a message: the publisher as seen by the queue.
pub(crate) fn scope(names: &Names, queue: Name, source: &str) -> u32 {
    let queue = names.number(Space::Queue, NONE, queue.as_str());
    names.number(Space::Source, queue, source)
}
