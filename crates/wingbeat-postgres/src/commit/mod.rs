//! Commits batches of units, and determines the outcome of each unit.
//!
//! - `lanes`, `arrays`, `segment`: compile units into the parameters of a call.
//! - `call`: the call of the commit function. `attempt`: one attempt to commit a segment.

mod arrays;
mod attempt;
mod call;
mod lanes;
mod segment;

use std::time::Duration;

use deadpool_postgres::Object;
use wingbeat_core::statement::{OpenTransaction, Unmet};
use wingbeat_core::unit::Outcome;
use wingbeat_core::{Envelope, HashSet, Key, LogLimit, LogLimits, Result, Unit};

use self::attempt::{BatchConnection, Committer, Refused};
pub(crate) use self::call::{Target, statement};
pub(crate) use self::lanes::lock_namespace;
use self::segment::{Segment, is_storable};
use crate::clock::log_clock;
use crate::fault::Fault;
use crate::inbox;
use crate::transaction::{self, HandlerTransaction};

/// Limits the log lines about refused units: other programs cause them with their messages.
static LINES: LogLimit = LogLimit::new(50, Duration::from_millis(200));
/// Limits the log lines about units that met locks: while another program holds one, every attempt
/// of every unit may.
static BUSY: LogLimits = LogLimits::new(20, Duration::from_secs(1));

/// Reason for refusing a unit with a transaction that is not of this pool.
const FOREIGN_TRANSACTION: &str = "its transaction belongs to another store";
/// Reason for refusing a unit: COMMIT would roll back the handler's work without an error.
const FAILED_TRANSACTION: &str = "a statement in its transaction failed, and the handler went on";
/// Reason for refusing a unit: it is unknown whether the statement took effect.
const UNFINISHED_TRANSACTION: &str =
    "the handler did not wait for the end of a statement in its transaction";

/// Maximum number of immediate retries of a call after conflicts with other transactions.
const CONFLICT_RETRIES_MAX: u32 = 3;

/// Commits units of one service in order. Returns their outcomes, and the messages that were
/// claimed.
pub(crate) async fn commit(
    connection: Object,
    target: &Target<'_>,
    units: &[&Unit],
) -> Result<(Vec<Outcome>, Vec<Envelope>)> {
    let mut batch = Batch {
        connection: BatchConnection::new(target.pool, connection),
        target,
        reduced_lock_timeout: false,
        refused_writes: HashSet::default(),
        claimed: Vec::new(),
    };
    let mut outcomes = Vec::with_capacity(units.len());
    let mut rest = units;
    while !rest.is_empty() {
        let mut segment = Segment::default();
        let fitting = rest
            .iter()
            .take_while(|unit| is_storable(unit) && segment.add(unit))
            .count();
        if fitting == 0 {
            // Only a unit whose own events leave a gap does not fit into an empty segment.
            let outcome = if is_storable(rest[0]) {
                Outcome::Stale
            } else {
                Outcome::Refused
            };
            batch.note(rest[0], outcome);
            outcomes.push(outcome);
            rest = &rest[1..];
            continue;
        }
        outcomes.extend(batch.segment(&segment).await?);
        rest = &rest[fitting..];
    }
    Ok((outcomes, batch.claimed))
}

/// A batch that is being committed.
struct Batch<'a> {
    connection: BatchConnection<'a>,
    target: &'a Target<'a>,
    /// A unit of the batch has had a lock timeout. The other units, which may be many, get a
    /// shorter one.
    reduced_lock_timeout: bool,
    /// Records that refused units would have written. Units that read them are stale.
    refused_writes: HashSet<Key>,
    claimed: Vec<Envelope>,
}

impl<'a> Batch<'a> {
    /// Notes a unit that this batch has committed.
    fn note_committed(&mut self, unit: &Unit) {
        if self.target.lease.is_some() {
            self.claimed.extend_from_slice(&unit.messages);
        }
    }

    /// Notes the outcome of a unit, for the units after it.
    fn note(&mut self, unit: &Unit, outcome: Outcome) {
        if outcome != Outcome::Committed {
            self.refused_writes
                .extend(unit.writes.iter().map(|write| write.key.clone()));
        }
        self.reduced_lock_timeout |= matches!(outcome, Outcome::Unmet(Unmet::Busy { .. }));
    }

    /// Returns whether the unit read what a refused unit would have written.
    fn is_built_on_refused(&self, unit: &Unit) -> bool {
        let mut reads = unit.reads.iter();
        reads.any(|read| self.refused_writes.contains(&read.key))
    }

    /// Commits a segment. Commits the refused units again one by one, or all units if one of them
    /// made the call fail.
    async fn segment(&mut self, segment: &Segment<'_>) -> Result<Vec<Outcome>> {
        let units = &segment.units;
        if units.len() == 1 || units.iter().any(|unit| self.is_built_on_refused(unit)) {
            return self.one_by_one(units).await;
        }
        let refused = match self.attempt(segment).await {
            Ok(refused) => refused,
            Err(
                fault @ (Fault::Unavailable(_)
                | Fault::ReadOnly(_)
                | Fault::Denied(_)
                | Fault::Conflict(_)
                | Fault::Unanswered),
            ) => return Err(fault.into_error()),
            Err(_) => return self.one_by_one(units).await,
        };
        let mut outcomes = vec![Outcome::Committed; units.len()];
        let (committed, refused) = segment.partition(&refused);
        for unit in committed {
            self.note_committed(units[unit]);
        }
        let again: Vec<&Unit> = refused.iter().map(|unit| units[*unit]).collect();
        for (unit, outcome) in refused.into_iter().zip(self.one_by_one(&again).await?) {
            outcomes[unit] = outcome;
        }
        Ok(outcomes)
    }

    async fn one_by_one(&mut self, units: &[&Unit]) -> Result<Vec<Outcome>> {
        let mut outcomes = Vec::with_capacity(units.len());
        for unit in units {
            let outcome = self.one(unit).await?;
            self.note(unit, outcome);
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }

    async fn one(&mut self, unit: &Unit) -> Result<Outcome> {
        if self.is_built_on_refused(unit) {
            return self.refusal(unit).await;
        }
        let attempt = match &unit.transaction {
            Some(open) => match self.commit_in_transaction(unit, open).await {
                Some(attempt) => attempt,
                None => return self.resolve_unknown(unit).await,
            },
            None => self.attempt(&Segment::of(unit)).await,
        };
        match attempt {
            Ok(refused) if refused.is_empty() => {
                self.note_committed(unit);
                Ok(Outcome::Committed)
            }
            Ok(_) => self.refusal(unit).await,
            Err(fault) => outcome_of(unit, fault),
        }
    }

    /// Returns the outcome of a unit that was not committed now.
    async fn refusal(&mut self, unit: &Unit) -> Result<Outcome> {
        let earlier = self.earlier_outcome(unit).await?;
        Ok(earlier.unwrap_or(Outcome::Stale))
    }

    /// Commits a segment; retries after a conflict with another transaction.
    async fn attempt(&mut self, segment: &Segment<'_>) -> Refused {
        let committer = self.committer();
        let mut retries = 0;
        loop {
            let attempt = async |connection: &Object| committer.commit(connection, segment).await;
            match self.connection.with(attempt).await {
                // The other transaction has ended by now.
                Err(Fault::Conflict(why)) if retries < CONFLICT_RETRIES_MAX => {
                    retries += 1;
                    tracing::debug!("retrying a commit after a conflict: {why}");
                }
                result => return result,
            }
        }
    }

    fn committer(&self) -> Committer<'a> {
        Committer {
            target: self.target,
            reduced_lock_timeout: self.reduced_lock_timeout,
        }
    }

    /// Commits a unit in its own transaction; `None` if an earlier submission used the transaction.
    async fn commit_in_transaction(&self, unit: &Unit, open: &OpenTransaction) -> Option<Refused> {
        let refuse = |why: &str| Some(Err(Fault::Poison(why.into())));
        let Some(open) = open.downcast::<HandlerTransaction>() else {
            return refuse(FOREIGN_TRANSACTION);
        };
        let transaction = open.take()?;
        let (committer, pool) = (self.committer(), self.target.pool);
        if !pool.began(&transaction) {
            return refuse(FOREIGN_TRANSACTION);
        }
        if transaction.has_failed() {
            return refuse(FAILED_TRANSACTION);
        }
        if transaction.is_unfinished() {
            return refuse(UNFINISHED_TRANSACTION);
        }
        let attempt = async |connection: &Object| {
            let refused = committer.run(connection, &Segment::of(unit)).await?;
            if refused.is_empty() {
                pool.with_timeout(transaction::commit(connection)).await?;
            }
            Ok(refused)
        };
        let attempt = transaction.with_connection(attempt).await;
        if matches!(&attempt, Ok(refused) if refused.is_empty()) {
            transaction.set_committed();
        }
        Some(attempt.map_err(Fault::in_open_transaction))
    }

    /// Returns the outcome of a unit whose own transaction was used by an earlier submission. If
    /// the unit was not committed, its handler runs again. The unit must not be committed after
    /// that, even if the server is still processing the earlier COMMIT.
    async fn resolve_unknown(&mut self, unit: &Unit) -> Result<Outcome> {
        if let Some(earlier) = self.earlier_outcome(unit).await? {
            return Ok(earlier);
        }
        if !inbox::settled(unit).is_empty() {
            // The next attempt settles a delivery of this one, so only one of the two is committed.
            return Ok(Outcome::Stale);
        }
        let target = self.target;
        let fence = async |connection: &Object| {
            let fence = target.fence(connection, unit);
            target.pool.with_timeout(fence).await
        };
        let fenced = self.connection.with(fence).await;
        if fenced.map_err(Fault::into_error)? {
            Ok(Outcome::Stale)
        } else {
            // The earlier COMMIT succeeded in the meantime.
            self.refusal(unit).await
        }
    }

    async fn earlier_outcome(&mut self, unit: &Unit) -> Result<Option<Outcome>> {
        let target = self.target;
        let find = async |connection: &Object| {
            let earlier = target.earlier_outcome(connection, unit);
            target.pool.with_timeout(earlier).await
        };
        self.connection.with(find).await.map_err(Fault::into_error)
    }
}

/// Returns the outcome of a unit whose commit failed, or an error if the unit is not at fault.
fn outcome_of(unit: &Unit, fault: Fault) -> Result<Outcome> {
    let (service, id) = (unit.service, unit.id);
    let busy = Outcome::Unmet(Unmet::Busy {
        statement: unit.statements.len(),
    });
    match fault {
        Fault::Unmet(why) => Ok(Outcome::Unmet(why)),
        Fault::Busy(why) => {
            if let Some(suppressed) = BUSY.admit("lock", log_clock()) {
                tracing::warn!(%service, unit = %id, suppressed, "a unit met a conflict or a lock timeout: {why}");
            }
            Ok(busy)
        }
        Fault::TimedOut => {
            if let Some(suppressed) = BUSY.admit("time", log_clock()) {
                tracing::warn!(%service, unit = %id, suppressed, "the statements of a unit timed out");
            }
            Ok(busy)
        }
        Fault::Poison(why) => {
            if let Some(suppressed) = LINES.admit(log_clock()) {
                tracing::error!(%service, unit = %id, suppressed, "refused a unit: {why}");
            }
            Ok(Outcome::Refused)
        }
        Fault::Conflict(_)
        | Fault::Unanswered
        | Fault::Unavailable(_)
        | Fault::ReadOnly(_)
        | Fault::Denied(_) => Err(fault.into_error()),
    }
}
