//! Jobs of the writer's thread, and their results.

use std::sync::Arc;

use tokio::sync::oneshot;
use wingbeat_core::transport::Refused;
use wingbeat_core::unit::Outcome;
use wingbeat_core::{Envelope, Name, Result, Timestamp, Topology, Unit};

use crate::fault::Fault;

/// The channel for the result of a job.
pub(super) type Reply<T> = oneshot::Sender<Result<T>>;
/// The result of publishing each message.
pub(super) type Published = Vec<std::result::Result<(), Refused>>;

/// A job of the writer's thread.
pub(super) enum Job {
    /// Commits units.
    Commit(Arc<Vec<Unit>>, Reply<Vec<Outcome>>),
    /// Queues messages.
    Publish(Vec<Envelope>, Reply<Published>),
    /// Puts messages into one queue.
    Forward(Name, Vec<Envelope>, Reply<Published>),
    /// Deletes rows that were acknowledged without a unit.
    Delete(Vec<u64>),
    /// Declares services and queues.
    Declare(Vec<Name>, Topology, Reply<()>),
    /// Deletes expired data.
    Retain(Timestamp, Reply<u64>),
    /// Writes something, to find out whether writes succeed again.
    Probe,
}

impl Job {
    /// Returns the number of units that count towards the limit of a batch.
    pub(super) fn units(&self) -> usize {
        match self {
            Self::Commit(units, _) => units.len(),
            Self::Publish(messages, _) | Self::Forward(_, messages, _) => messages.len(),
            Self::Delete(rows) => rows.len(),
            Self::Declare(..) | Self::Retain(..) | Self::Probe => 1,
        }
    }

    /// Sends an error to the caller.
    pub(super) fn fail(self, fault: &Fault) {
        match self {
            Self::Commit(_, reply) => send(reply, Err(fault.to_error())),
            Self::Publish(_, reply) | Self::Forward(_, _, reply) => {
                send(reply, Err(fault.to_error()));
            }
            Self::Declare(.., reply) => send(reply, Err(fault.to_error())),
            Self::Retain(_, reply) => send(reply, Err(fault.to_error())),
            Self::Delete(_) | Self::Probe => {}
        }
    }
}

/// The result of a job that was committed.
pub(super) enum Answer {
    Outcomes(Vec<Outcome>),
    Published(Published),
    Retained(u64),
    Nothing,
}

impl Answer {
    /// Sends the result to the caller of its job.
    pub(super) fn send(self, job: Job) {
        match (job, self) {
            (Job::Commit(_, reply), Self::Outcomes(outcomes)) => send(reply, Ok(outcomes)),
            (Job::Publish(_, reply) | Job::Forward(_, _, reply), Self::Published(published)) => {
                send(reply, Ok(published))
            }
            (Job::Retain(_, reply), Self::Retained(count)) => send(reply, Ok(count)),
            (Job::Declare(.., reply), _) => send(reply, Ok(())),
            _ => {}
        }
    }
}

fn send<T>(reply: Reply<T>, result: Result<T>) {
    let _ = reply.send(result); // The caller may have stopped waiting.
}
