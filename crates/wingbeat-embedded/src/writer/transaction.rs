//! Commits jobs as one transaction.

use rusqlite::Connection;

use super::batch::Batch;
use super::job::{Answer, Job};
use super::refused::RefusedUnits;
use super::retain;
use super::shared::Shared;
use crate::fault::{Cause, Fault, abort_after_failed_fsync};

/// A transaction that was committed.
pub(super) struct Committed {
    /// The result of each job.
    pub(super) answers: Vec<Answer>,
    /// The transaction wrote something.
    pub(super) wrote: bool,
}

/// Commits jobs as one transaction. If a unit cannot be stored, it retries with a savepoint for
/// each unit. If a statement ends the transaction, it retries without the statement's unit.
pub(super) fn commit(
    connection: &mut Connection,
    shared: &Shared,
    jobs: &[Job],
    refused: &RefusedUnits,
) -> Result<Committed, Fault> {
    let mut savepoints = false;
    loop {
        let before = refused.count();
        let result = attempt(connection, shared, jobs, savepoints, refused);
        let is_poisoned = matches!(&result, Err(fault) if fault.cause == Cause::Poison);
        let refused_more = refused.count() > before;
        if result.is_ok() || (!refused_more && (savepoints || !is_poisoned)) {
            return result;
        }
        savepoints |= !refused_more;
    }
}

/// Runs one transaction. Applies its effects in memory once it is durable.
fn attempt(
    connection: &mut Connection,
    shared: &Shared,
    jobs: &[Job],
    savepoints: bool,
    refused: &RefusedUnits,
) -> Result<Committed, Fault> {
    let names = &shared.names;
    let run = |connection: &Connection| -> rusqlite::Result<_> {
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let mut batch = Batch::new(connection, shared, savepoints, refused);
        let answers = jobs
            .iter()
            .map(|job| run_job(&mut batch, job))
            .collect::<rusqlite::Result<Vec<_>>>()?;
        let effects = batch.finish()?;
        let names_written = names.write_new(connection)?;
        let dictionaries_written = names.dictionaries.write_new(connection)?;
        connection.prepare_cached("COMMIT")?.execute([])?;
        Ok((answers, effects, names_written, dictionaries_written))
    };
    match run(connection) {
        Ok((answers, effects, names_written, dictionaries_written)) => {
            names.set_written(names_written);
            names.dictionaries.set_written(dictionaries_written);
            shared.intake.wrote(true);
            let wrote = effects.wrote;
            effects.apply(shared);
            Ok(Committed { answers, wrote })
        }
        Err(error) => {
            let fault = Fault::of(&error);
            if fault.cause == Cause::Fsync {
                abort_after_failed_fsync(&fault);
            }
            if !connection.is_autocommit() {
                // The first error is the one to report.
                let _ = connection.execute_batch("ROLLBACK");
            }
            Err(fault)
        }
    }
}

fn run_job(batch: &mut Batch<'_>, job: &Job) -> rusqlite::Result<Answer> {
    Ok(match job {
        Job::Commit(units, _) => Answer::Outcomes(
            units
                .iter()
                .map(|unit| batch.unit(unit))
                .collect::<rusqlite::Result<_>>()?,
        ),
        Job::Publish(messages, _) => Answer::Published(batch.publish(messages)?),
        Job::Forward(queue, messages, _) => Answer::Published(batch.forward(*queue, messages)?),
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
