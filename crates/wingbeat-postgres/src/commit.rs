//! The call that commits, and what became of each unit.

use deadpool_postgres::Object;
use tokio_postgres::types::ToSql;
use uuid::Uuid;
use wingbeat_core::unit::Outcome;
use wingbeat_core::{Envelope, Error, HashSet, Key, Name, Result, Timestamp, Unit};

use crate::fault::{Fault, away};
use crate::outbox::Places;
use crate::segment::{Arrays, Segment, is_storable, scope};

/// How long the row of a removed record stays: longer than any attempt of a handler that may have read it.
const TOMBSTONE_MICROS: i64 = 3_600_000_000;

/// What a call needs to know beside the units.
pub(crate) struct Target<'a> {
    pub(crate) schema: &'a str,
    /// Tells the advisory locks of one schema from another's.
    pub(crate) namespace: i32,
    /// Which of a counter's rows this process adds to.
    pub(crate) lane: i16,
    pub(crate) now: Timestamp,
    /// For how long the messages are the caller's to publish, in microseconds.
    pub(crate) lease: Option<i64>,
    /// Where claimed messages lie.
    pub(crate) places: &'a Places,
    pub(crate) service: Name,
}

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

/// One batch on its way.
struct Batch<'a> {
    connection: &'a Object,
    target: &'a Target<'a>,
    /// What refused units would have written: whoever read that is stale.
    withdrawn: HashSet<Key>,
    claimed: Vec<Envelope>,
}

impl Batch<'_> {
    /// The store took the unit just now.
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

    /// Commits a segment as a whole; what is refused in it, or all of it if a value is poisonous, unit by
    /// unit.
    async fn segment(&mut self, segment: &Segment<'_>) -> Result<Vec<Outcome>> {
        let built_on_refused = |unit: &&Unit| {
            unit.reads
                .iter()
                .any(|read| self.withdrawn.contains(&read.key))
        };
        if segment.units.iter().any(built_on_refused) {
            return self.one_by_one(&segment.units).await;
        }
        let refused = match self.call(segment).await {
            Ok(refused) => refused,
            Err(Fault::Poison(_)) => return self.one_by_one(&segment.units).await,
            Err(away) => return Err(away.into_error()),
        };
        let mut outcomes = vec![Outcome::Committed; segment.units.len()];
        let groups = segment.groups();
        let (again, taken): (Vec<usize>, Vec<usize>) = (0..groups.len())
            .partition(|unit| refused.contains(&i32::try_from(groups[*unit]).unwrap_or(i32::MAX)));
        taken
            .iter()
            .for_each(|unit| self.took(segment.units[*unit]));
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
        if unit
            .reads
            .iter()
            .any(|read| self.withdrawn.contains(&read.key))
        {
            return Ok(self.known(unit).await?.unwrap_or(Outcome::Stale));
        }
        let mut segment = Segment::default();
        segment.add(unit);
        match self.call(&segment).await {
            Ok(refused) if refused.is_empty() => {
                self.took(unit);
                Ok(Outcome::Committed)
            }
            Ok(_) => Ok(self.known(unit).await?.unwrap_or(Outcome::Stale)),
            Err(Fault::Poison(why)) => {
                tracing::error!(service = %unit.service, "a unit cannot be stored: {why}");
                Ok(Outcome::Refused)
            }
            Err(away) => Err(away.into_error()),
        }
    }

    /// What is known of a unit that was here before, or of its delivery.
    async fn known(&self, unit: &Unit) -> Result<Option<Outcome>> {
        let ask = format!(
            "SELECT unit IS NULL OR unit = $3 FROM {}.inbox WHERE id = $1 AND scope = $2",
            self.target.schema
        );
        let statement = self
            .connection
            .prepare_cached(&ask)
            .await
            .map_err(|e| away(&e))?;
        let find = async |id: &Uuid, scope: &str| -> Result<Option<bool>> {
            let row = self
                .connection
                .query_opt(&statement, &[id, &scope, &unit.id.0])
                .await;
            Ok(row.map_err(|e| away(&e))?.map(|row| row.get(0)))
        };
        if find(&unit.id.0, "").await?.is_some() {
            return Ok(Some(Outcome::Committed));
        }
        let Some(settled) = &unit.settles else {
            return Ok(None);
        };
        let same = find(&settled.message.0, &scope(settled)).await?;
        Ok(same.map(|same| match same && settled.done {
            true => Outcome::Committed,
            false => Outcome::Duplicate,
        }))
    }

    /// One call; the groups that were refused.
    async fn call(&self, segment: &Segment<'_>) -> std::result::Result<Vec<i32>, Fault> {
        let arrays = segment.arrays();
        let keys = arrays.keys();
        let tombstone = self.target.now.as_micros() + TOMBSTONE_MICROS;
        let parameters = self.parameters(&arrays, &keys, &tombstone);
        let places: Vec<String> = (1..=parameters.len()).map(|n| format!("${n}")).collect();
        let sql = format!(
            "SELECT stale || known, places, placed FROM {}.commit_v1({})",
            self.target.schema,
            places.join(",")
        );
        let statement = self
            .connection
            .prepare_cached(&sql)
            .await
            .map_err(|e| Fault::of(&e))?;
        let row = self
            .connection
            .query_one(&statement, &parameters)
            .await
            .map_err(|e| Fault::of(&e))?;
        let places: Option<Vec<i64>> = row.get(1);
        let placed: Option<Vec<Uuid>> = row.get(2);
        let found = placed
            .into_iter()
            .flatten()
            .zip(places.into_iter().flatten());
        self.target.places.note(self.target.service, found);
        Ok(row.get(0))
    }
}

impl Batch<'_> {
    /// The parameters of `commit_v1`, in its order.
    fn parameters<'a>(
        &'a self,
        a: &'a Arrays<'_>,
        keys: &'a [Vec<&str>; 2],
        tombstone: &'a i64,
    ) -> Vec<&'a (dyn ToSql + Sync)> {
        let (r, w, h, e) = (&a.read, &a.written, &a.first_event, &a.event);
        let mut all: Vec<&'a (dyn ToSql + Sync)> = vec![&self.target.namespace, &self.target.lane];
        all.extend([
            &a.u_group as &(dyn ToSql + Sync),
            &a.u_id,
            &a.u_scope,
            &a.u_unit,
            &a.u_at,
        ]);
        all.extend([&a.p_group as &(dyn ToSql + Sync), &a.p_id, &a.p_scope]);
        all.extend([&keys[0] as &(dyn ToSql + Sync), &keys[1]]);
        all.extend(r.parameters());
        all.extend(w.parameters());
        all.extend([&a.w_body as &(dyn ToSql + Sync), &a.w_due, &a.w_expires]);
        all.extend(h.parameters());
        all.extend(e.parameters());
        all.extend([&a.a_at as &(dyn ToSql + Sync), &a.a_body]);
        all.extend([&a.v_group as &(dyn ToSql + Sync), &a.v_view, &a.v_key]);
        all.extend([&a.v_columns as &(dyn ToSql + Sync), &a.v_body]);
        all.extend([
            &a.o_group as &(dyn ToSql + Sync),
            &a.o_id,
            &a.o_kind,
            &a.o_body,
        ]);
        all.extend([&a.j_group as &(dyn ToSql + Sync), &a.j_story, &a.j_body]);
        all.extend([&a.c_group as &(dyn ToSql + Sync), &a.c_name, &a.c_add]);
        all.extend([tombstone as &(dyn ToSql + Sync), &self.target.lease]);
        all
    }
}

/// An error that says nothing about any unit.
pub(crate) fn unprepared(service: Name) -> Error {
    Error::retry(
        "store_unprepared",
        format!("the schema of {service} is not prepared"),
    )
}
