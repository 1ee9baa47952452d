//! What becomes of each unit of a batch.

use deadpool_postgres::Object;
use uuid::Uuid;
use wingbeat_core::statement::{Companion, Unmet};
use wingbeat_core::unit::Outcome;
use wingbeat_core::{Envelope, Error, HashSet, Key, Result, Unit};

use crate::call::Target;
use crate::fault::{Fault, away};
use crate::segment::{Segment, is_storable, scope};
use crate::statement;
use crate::transaction::{self, Begun, Held};

type Attempt = std::result::Result<Vec<i32>, Fault>;

/// Commits units of one service in order; which of their messages were put into the outbox and claimed.
pub(crate) async fn commit(
    connection: &Object,
    target: &Target<'_>,
    units: &[&Unit],
) -> Result<(Vec<Outcome>, Vec<Envelope>)> {
    let mut batch = Batch {
        connection,
        target,
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

/// One batch on its way.
struct Batch<'a> {
    connection: &'a Object,
    target: &'a Target<'a>,
    /// What refused units would have written: whoever read that is stale.
    withdrawn: HashSet<Key>,
    claimed: Vec<Envelope>,
}

impl Batch<'_> {
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
            Err(Fault::Away(why)) => return Err(Fault::Away(why).into_error()),
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
            Err(Fault::Poison(why)) => {
                tracing::error!(service = %unit.service, "a unit cannot be stored: {why}");
                Ok(Outcome::Refused)
            }
            Err(away) => Err(away.into_error()),
        }
    }

    /// One call, which is a transaction; in an explicit one if there are statements. The groups that were refused.
    async fn attempt(&self, segment: &Segment<'_>) -> Attempt {
        if !segment.has_statements() {
            return self.target.call(self.connection, segment).await;
        }
        let begun = Begun::new(self.connection).await?;
        let refused = self.work(self.connection, segment).await?;
        begun.commit().await?;
        Ok(refused)
    }

    /// The call, and the statements of what was not refused.
    async fn work(&self, connection: &Object, segment: &Segment<'_>) -> Attempt {
        let refused = self.target.call(connection, segment).await?;
        let (taken, _) = segment.parted(&refused);
        if segment.has_statements() {
            self.target.pool.limit(connection).await?;
        }
        for unit in taken {
            statement::run(connection, segment.units[unit]).await?;
        }
        Ok(refused)
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
        let work = async |connection: &Object| {
            let refused = self.work(connection, &Segment::of(unit)).await?;
            if refused.is_empty() {
                transaction::commit(connection).await?;
            }
            Ok(refused)
        };
        let attempt = transaction.during(work).await;
        if matches!(&attempt, Ok(refused) if refused.is_empty()) {
            transaction.ended();
        }
        Some(attempt)
    }

    /// What becomes of a unit whose transaction was submitted and is gone. Unless it is known, its handler runs
    /// again: so it must not be committed any more, should the server still be at it.
    async fn after_unknown(&self, unit: &Unit) -> Result<Outcome> {
        if let Some(known) = self.known(unit).await? {
            return Ok(known);
        }
        if unit.settles.as_ref().is_some_and(|settled| settled.done) {
            return Ok(Outcome::Stale); // The next attempt settles the same delivery: one of them does.
        }
        let first = self.target.remember(self.connection, unit).await;
        let known = match first.map_err(Fault::into_error)? {
            true => None,
            false => self.known(unit).await?, // Somebody else was faster.
        };
        Ok(known.unwrap_or(Outcome::Stale))
    }

    /// What is known of a unit that was here before, or of its delivery.
    async fn known(&self, unit: &Unit) -> Result<Option<Outcome>> {
        let ask = format!(
            "SELECT unit FROM {}.inbox WHERE id = $1 AND scope = $2",
            self.target.schema
        );
        let statement = self
            .connection
            .prepare_cached(&ask)
            .await
            .map_err(|e| away(&e))?;
        let find = async |id: &Uuid, scope: &str| -> Result<Option<Option<Uuid>>> {
            let row = self.connection.query_opt(&statement, &[id, &scope]).await;
            Ok(row.map_err(|e| away(&e))?.map(|row| row.get(0)))
        };
        if let Some(mark) = find(&unit.id.0, "").await? {
            // With a mark it was not committed, and is not to be: see `Target::remember`.
            return Ok(Some(match mark {
                None => Outcome::Committed,
                Some(_) => Outcome::Stale,
            }));
        }
        let Some(settled) = &unit.settles else {
            return Ok(None);
        };
        let by = find(&settled.message.0, &scope(settled)).await?;
        let is_ours = |by: Option<Uuid>| by.is_none_or(|by| by == unit.id.0);
        Ok(by.map(|by| match is_ours(by) && settled.done {
            true => Outcome::Committed,
            false => Outcome::Duplicate,
        }))
    }
}

/// An error that says nothing about any unit.
pub(crate) fn unprepared(service: wingbeat_core::Name) -> Error {
    Error::retry(
        "store_unprepared",
        format!("the schema of {service} is not prepared"),
    )
}
