//! Units one after the other, each in a transaction of its own.
//!
//! SQLite checks deferred foreign keys at the COMMIT and refuses all of it, without a word about the unit at fault.
//! Alone, each is told for itself. This costs a sync of the disk a unit, and only batches with such a unit pay it.

use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::oneshot;
use wingbeat_core::Unit;
use wingbeat_core::unit::Outcome;

use super::batch::Doomed;
use super::{Answer, Done, Job, Shared, together};
use crate::fault::{Cause, Fault};

/// Commits the units of one job.
pub(super) fn apart(
    connection: &mut Connection,
    shared: &Shared,
    units: &[Unit],
) -> std::result::Result<Done, Fault> {
    let doomed = Doomed::default();
    let mut outcomes = Vec::with_capacity(units.len());
    let mut wrote = false;
    for unit in units {
        let (outcome, wrote_one) = alone(connection, shared, unit, &doomed)?;
        if outcome != Outcome::Committed {
            let keys = unit.writes.iter().map(|write| &write.key);
            doomed.withdraw(keys.map(|key| shared.key(unit.service, key)));
        }
        outcomes.push(outcome);
        wrote |= wrote_one;
    }
    let answers = vec![Answer::Outcomes(outcomes)];
    Ok(Done { answers, wrote })
}

/// What becomes of the unit, and whether something was written.
fn alone(
    connection: &mut Connection,
    shared: &Shared,
    unit: &Unit,
    doomed: &Doomed,
) -> std::result::Result<(Outcome, bool), Fault> {
    // Nobody waits for this answer: it is taken from what was done.
    let (reply, _) = oneshot::channel();
    let job = Job::Commit(Arc::new(vec![unit.clone()]), reply);
    match together(connection, shared, &[job], doomed) {
        Err(fault) if fault.cause == Cause::ForeignKey => {
            let why = fault.message;
            tracing::error!(service = %unit.service, "a unit cannot be stored: at its end, {why}");
            Ok((Outcome::Refused, false))
        }
        Err(fault) => Err(fault),
        Ok(done) => match &done.answers[..] {
            [Answer::Outcomes(outcomes)] => Ok((outcomes[0], done.wrote)),
            _ => unreachable!("a commit is answered by outcomes"),
        },
    }
}
