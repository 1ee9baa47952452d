//! What becomes of each unit of a batch.

use deadpool_postgres::Object;
use wingbeat_core::statement::{Companion, Unmet};
use wingbeat_core::unit::Outcome;
use wingbeat_core::{Envelope, Error, HashSet, Key, Result, Unit};

use crate::attempt::{Attempt, Line, Work};
use crate::call::Target;
use crate::fault::Fault;
use crate::segment::{Segment, is_storable};
use crate::transaction::{self, Held};

/// Commits units of one service in order; which of their messages were put into the outbox and claimed.
pub(crate) async fn commit(
    connection: Object,
    target: &Target<'_>,
    units: &[&Unit],
) -> Result<(Vec<Outcome>, Vec<Envelope>)> {
    let mut batch = Batch {
        line: Line::new(target.pool, connection),
        target,
        hurried: false,
        withdrawn: HashSet::default(),
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
            // It cannot be stored: everything fits an empty segment but a history with a hole.
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

/// Why a unit with such a transaction is refused.
const FOREIGN: &str = "its transaction is not one of this store";
/// The same, since that would be half of what the handler meant.
const FAILED: &str = "a statement failed in its transaction, and the handler went on";
/// The same: nobody knows whether it did what it was to do.
const ABANDONED: &str = "the handler did not wait for the end of a statement in its transaction";

/// How often a call that lost a race is made again at once.
const RACES_MAX: u32 = 3;

/// One batch on its way.
struct Batch<'a> {
    line: Line<'a>,
    target: &'a Target<'a>,
    /// One of its units waited for a lock as long as it may: the others, which may be many, hardly wait.
    hurried: bool,
    /// What refused units would have written: whoever read that is stale.
    withdrawn: HashSet<Key>,
    claimed: Vec<Envelope>,
}

impl<'a> Batch<'a> {
    /// The store has just taken the unit.
    fn took(&mut self, unit: &Unit) {
        if self.target.lease.is_some() {
            self.claimed.extend_from_slice(&unit.messages);
        }
    }

    fn note(&mut self, unit: &Unit, outcome: Outcome) {
        if outcome != Outcome::Committed {
            self.withdrawn
                .extend(unit.writes.iter().map(|write| write.key.clone()));
        }
        self.hurried |= matches!(outcome, Outcome::Unmet(Unmet::Busy { .. }));
    }

    fn is_built_on_refused(&self, unit: &Unit) -> bool {
        let mut reads = unit.reads.iter();
        reads.any(|read| self.withdrawn.contains(&read.key))
    }

    /// Commits a segment as a whole; what is refused in it, or all of it if one of its units is at fault, unit
    /// by unit.
    async fn segment(&mut self, segment: &Segment<'_>) -> Result<Vec<Outcome>> {
        let units = &segment.units;
        if units.len() == 1 || units.iter().any(|unit| self.is_built_on_refused(unit)) {
            return self.one_by_one(units).await;
        }
        let refused = match self.attempt(segment).await {
            Ok(refused) => refused,
            Err(away @ (Fault::Away(_) | Fault::Race(_) | Fault::Silent)) => {
                return Err(away.into_error());
            }
            Err(_) => return self.one_by_one(units).await,
        };
        let mut outcomes = vec![Outcome::Committed; units.len()];
        let (taken, again) = segment.parted(&refused);
        taken.iter().for_each(|unit| self.took(units[*unit]));
        let units: Vec<&Unit> = again.iter().map(|unit| segment.units[*unit]).collect();
        for (unit, outcome) in again.into_iter().zip(self.one_by_one(&units).await?) {
            outcomes[unit] = outcome;
        }
        Ok(outcomes)
    }

    async fn one_by_one(&mut self, units: &[&Unit]) -> Result<Vec<Outcome>> {
        let mut outcomes = Vec::with_capacity(units.len());
        for unit in units {
            let outcome = self.alone(unit).await?;
            self.note(unit, outcome);
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }

    async fn alone(&mut self, unit: &Unit) -> Result<Outcome> {
        if self.is_built_on_refused(unit) {
            return Ok(self.known(unit).await?.unwrap_or(Outcome::Stale));
        }
        let attempt = match &unit.companion {
            Some(companion) => match self.accompanied(unit, companion).await {
                Some(attempt) => attempt,
                None => return self.after_unknown(unit).await,
            },
            None => self.attempt(&Segment::of(unit)).await,
        };
        match attempt {
            Ok(refused) if refused.is_empty() => {
                self.took(unit);
                Ok(Outcome::Committed)
            }
            Ok(_) => Ok(self.known(unit).await?.unwrap_or(Outcome::Stale)),
            Err(Fault::Unmet(why)) => Ok(Outcome::Unmet(why)),
            Err(Fault::Busy(why)) => {
                tracing::warn!(service = %unit.service, "a unit found something locked: {why}");
                let statement = unit.statements.len();
                Ok(Outcome::Unmet(Unmet::Busy { statement }))
            }
            Err(Fault::Late) => {
                tracing::warn!(service = %unit.service, "the statements of a unit take too long together");
                let statement = unit.statements.len();
                Ok(Outcome::Unmet(Unmet::Busy { statement }))
            }
            Err(Fault::Poison(why)) => {
                tracing::error!(service = %unit.service, "a unit cannot be stored: {why}");
                Ok(Outcome::Refused)
            }
            Err(away) => Err(away.into_error()),
        }
    }

    async fn attempt(&mut self, segment: &Segment<'_>) -> Attempt {
        let work = self.work();
        let mut races = 0;
        loop {
            let attempt = async |connection: &Object| work.attempt(connection, segment).await;
            match self.line.on(attempt).await {
                // Who was faster has committed by now.
                Err(Fault::Race(why)) if races < RACES_MAX => {
                    races += 1;
                    tracing::debug!("a commit lost a race: {why}");
                }
                done => return done,
            }
        }
    }

    fn work(&self) -> Work<'a> {
        Work {
            target: self.target,
            hurried: self.hurried,
        }
    }

    /// Commits a unit in the transaction that it brings; `None` when that was used up by an earlier submission.
    async fn accompanied(&self, unit: &Unit, companion: &Companion) -> Option<Attempt> {
        let Some(held) = companion.downcast::<Held>() else {
            return Some(Err(Fault::Poison(FOREIGN.into())));
        };
        let transaction = held.take()?;
        if !self.target.pool.began(&transaction) {
            return Some(Err(Fault::Poison(FOREIGN.into())));
        }
        if transaction.has_failed() {
            return Some(Err(Fault::Poison(FAILED.into())));
        }
        if transaction.is_unfinished() {
            return Some(Err(Fault::Poison(ABANDONED.into())));
        }
        let (work, pool) = (self.work(), self.target.pool);
        let attempt = async |connection: &Object| {
            let refused = work.run(connection, &Segment::of(unit)).await?;
            if refused.is_empty() {
                pool.patiently(transaction::commit(connection)).await?;
            }
            Ok(refused)
        };
        let attempt = transaction.during(attempt).await;
        if matches!(&attempt, Ok(refused) if refused.is_empty()) {
            transaction.ended();
        }
        Some(attempt.map_err(Fault::in_companion))
    }

    /// What becomes of a unit whose transaction was submitted and is gone. Unless it is known, its handler runs
    /// again: so it must not be committed any more, should the server still be at it.
    async fn after_unknown(&mut self, unit: &Unit) -> Result<Outcome> {
        if let Some(known) = self.known(unit).await? {
            return Ok(known);
        }
        if unit.settles.as_ref().is_some_and(|settled| settled.done) {
            return Ok(Outcome::Stale); // The next attempt settles the same delivery: one of them does.
        }
        let target = self.target;
        let remember = async |connection: &Object| {
            let first = target.remember(connection, unit);
            target.pool.patiently(first).await
        };
        let first = self.line.on(remember).await;
        let known = match first.map_err(Fault::into_error)? {
            true => None,
            false => self.known(unit).await?, // Somebody else was faster.
        };
        Ok(known.unwrap_or(Outcome::Stale))
    }

    async fn known(&mut self, unit: &Unit) -> Result<Option<Outcome>> {
        let target = self.target;
        let ask = async |connection: &Object| {
            let known = target.known(connection, unit);
            target.pool.patiently(known).await
        };
        self.line.on(ask).await.map_err(Fault::into_error)
    }
}

/// An error that says nothing about any unit.
pub(crate) fn unprepared(service: wingbeat_core::Name) -> Error {
    Error::retry(
        "store_unprepared",
        format!("the schema of {service} is not prepared"),
    )
}
