//! Commits units one after another, each in a transaction of its own.
//!
//! SQLite checks deferred foreign keys at COMMIT, and its error does not say which unit is at
//! fault. In its own transaction, each unit succeeds or fails by itself. That costs an fsync per
//! unit, but only jobs with such a unit are committed this way.

use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::oneshot;
use wingbeat_core::Unit;
use wingbeat_core::unit::Outcome;

use super::job::{Answer, Job};
use super::refused::RefusedUnits;
use super::shared::Shared;
use super::transaction::{self, Committed};
use crate::fault::{Cause, Fault};

/// Commits each unit of a job in a transaction of its own.
pub(super) fn commit_each(
    connection: &mut Connection,
    shared: &Shared,
    units: &[Unit],
) -> Result<Committed, Fault> {
    let refused = RefusedUnits::default();
    let mut outcomes = Vec::with_capacity(units.len());
    let mut wrote = false;
    for unit in units {
        let (outcome, wrote_one) = commit_one(connection, shared, unit, &refused)?;
        if outcome != Outcome::Committed {
            let keys = unit.writes.iter().map(|write| &write.key);
            refused.add_writes(keys.map(|key| shared.key(unit.service, key)));
        }
        outcomes.push(outcome);
        wrote |= wrote_one;
    }
    let answers = vec![Answer::Outcomes(outcomes)];
    Ok(Committed { answers, wrote })
}

/// Returns the unit's outcome, and whether the transaction wrote something.
fn commit_one(
    connection: &mut Connection,
    shared: &Shared,
    unit: &Unit,
    refused: &RefusedUnits,
) -> Result<(Outcome, bool), Fault> {
    // The reply is not used: the outcome is in the transaction's answers.
    let (reply, _) = oneshot::channel();
    let job = Job::Commit(Arc::new(vec![unit.clone()]), reply);
    match transaction::commit(connection, shared, &[job], refused) {
        Err(fault) if fault.cause == Cause::ForeignKey => {
            let why = fault.message;
            tracing::error!(
                service = %unit.service,
                unit = %unit.id,
                "refused a unit: its commit failed: {why}"
            );
            Ok((Outcome::Refused, false))
        }
        Err(fault) => Err(fault),
        Ok(committed) => match &committed.answers[..] {
            [Answer::Outcomes(outcomes)] => Ok((outcomes[0], committed.wrote)),
            _ => unreachable!("the answer to a commit is its outcomes"),
        },
    }
}
