//! The thread that writes: it takes all waiting jobs and commits them as one group.
//!
//! - `job`: the jobs. `transaction`: commits several of them. `isolate`: commits units separately.
//! - `batch`: what one transaction reads and writes. `refused`: units left out of a retry.
//! - `retain`: deletes expired data. `shared`: state shared with readers and consumers.

mod batch;
mod isolate;
mod job;
mod refused;
mod retain;
mod shared;
mod transaction;

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};
use wingbeat_core::unit::Outcome;
use wingbeat_core::{Envelope, Error, Name, Result, Timestamp, Topology, Unit};

use self::job::{Answer, Job, Published, Reply};
use self::refused::RefusedUnits;
pub(crate) use self::shared::Shared;
use crate::fault::{Cause, Fault, closed, exit_if_corrupt};
use crate::open_mark::OpenMark;
use crate::schema;

/// Capacity of the queue of jobs; callers wait while it is full.
const QUEUED_MAX: usize = 4096;

/// A handle to the thread. Dropping it finishes the queued jobs and joins the thread.
pub(crate) struct Writer {
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread. `batch_max` limits the units of one transaction. The thread drops the
    /// mark before it closes the connection.
    pub(crate) fn start(
        connection: Connection,
        shared: Shared,
        batch_max: usize,
        mark: OpenMark,
    ) -> Result<Self> {
        let (jobs, incoming) = mpsc::channel(QUEUED_MAX);
        let thread = std::thread::Builder::new().name("wb-writer".into());
        let thread = thread
            .spawn(move || run(connection, &shared, incoming, batch_max, mark))
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

    /// Commits units; returns one outcome per unit.
    pub(crate) async fn commit(&self, units: Arc<Vec<Unit>>) -> Result<Vec<Outcome>> {
        self.ask(|reply| Job::Commit(units, reply)).await
    }

    /// Commits a transaction without any changes.
    pub(crate) async fn ping(&self) -> Result<()> {
        self.commit(Arc::default()).await.map(drop)
    }

    /// Queues messages; returns one result per message.
    pub(crate) async fn publish(&self, messages: Vec<Envelope>) -> Result<Published> {
        self.ask(|reply| Job::Publish(messages, reply)).await
    }

    /// Puts messages into one queue.
    pub(crate) async fn forward(&self, queue: Name, messages: Vec<Envelope>) -> Result<Published> {
        self.ask(|reply| Job::Forward(queue, messages, reply)).await
    }

    /// Declares services and queues.
    pub(crate) async fn declare(&self, services: Vec<Name>, topology: Topology) -> Result<()> {
        self.ask(|reply| Job::Declare(services, topology, reply))
            .await
    }

    /// Deletes expired data; returns the number of deleted rows.
    pub(crate) async fn retain(&self, now: Timestamp) -> Result<u64> {
        self.ask(|reply| Job::Retain(now, reply)).await
    }

    /// Deletes rows of queues without waiting. If the process ends first, the messages are
    /// delivered again.
    pub(crate) fn delete(&self, rows: Vec<u64>) {
        self.try_send(Job::Delete(rows));
    }

    /// Writes something without waiting, to find out whether writes succeed again.
    pub(crate) fn probe(&self) {
        self.try_send(Job::Probe);
    }

    fn try_send(&self, job: Job) {
        if let Ok(sender) = self.sender()
            && let Err(error) = sender.try_send(job)
        {
            tracing::debug!(%error, "dropped a job: the writer's queue is full or closed");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Closes the channel, so that the thread ends.
        let jobs = self.jobs.get_mut().unwrap_or_else(PoisonError::into_inner);
        *jobs = None;
        let thread = self
            .thread
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(thread) = thread.take()
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
    mark: OpenMark,
) {
    while let Some(first) = incoming.blocking_recv() {
        let mut count = first.units();
        let mut jobs = vec![first];
        while count < batch_max {
            let Ok(job) = incoming.try_recv() else { break };
            count += job.units();
            jobs.push(job);
        }
        let swept = commit_group(&mut connection, shared, jobs, count);
        if swept && let Err(error) = schema::empty_log(&connection) {
            tracing::debug!(%error, "cannot empty the log yet");
        }
    }
    // Truncates the log, so that the next start has nothing to recover.
    let _ = connection.pragma_update(None, "wal_checkpoint", "TRUNCATE");
    // Before the last connection is closed, which removes the log.
    drop(mark);
}

/// Commits jobs as one transaction, and sends their results. Returns whether a sweep of expired
/// data has ended.
fn commit_group(
    connection: &mut Connection,
    shared: &Shared,
    jobs: Vec<Job>,
    count: usize,
) -> bool {
    let began = Instant::now();
    let mut result = transaction::commit(connection, shared, &jobs, &RefusedUnits::default());
    if matches!(&result, Err(fault) if fault.cause == Cause::ForeignKey) {
        result = match &jobs[..] {
            [Job::Commit(units, _)] => isolate::commit_each(connection, shared, units),
            // Only the job at fault should pay for separate transactions.
            [_, _, ..] => {
                let mut swept = false;
                for job in jobs {
                    let count = job.units();
                    swept |= commit_group(connection, shared, vec![job], count);
                }
                return swept;
            }
            _ => result,
        };
    }
    match result {
        Ok(committed) => {
            let duration = began.elapsed();
            shared.counters.batch(count, duration, committed.wrote);
            let mut swept = false;
            for (job, answer) in jobs.into_iter().zip(committed.answers) {
                swept |= matches!(answer, Answer::Retained(0));
                answer.send(job);
            }
            swept
        }
        Err(fault) => {
            fail(shared, jobs, &fault);
            false
        }
    }
}

fn fail(shared: &Shared, jobs: Vec<Job>, fault: &Fault) {
    exit_if_corrupt(fault);
    shared.intake.wrote(false);
    tracing::error!(
        error = fault.message,
        "a transaction failed and was rolled back"
    );
    for job in jobs {
        job.fail(fault);
    }
}
