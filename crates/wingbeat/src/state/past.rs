//! The past of a story's records: which of them its units have written, and their states after each
//! write, as far as these are known.
//!
//! The state of an aggregate is folded from its history. Other records have no history: the state
//! after a write is known until the next write.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;
use wingbeat_core::store::ServiceStore;
use wingbeat_core::{CorrelationId, Key, Name, Result, Timestamp};

use super::aggregate::Aggregate;
use super::reads::{Reads, created};
use crate::decode;
use crate::unit::{At, Change, Fold, by_record, changes, decode_entries};

/// The largest number of writes of a story that are reported for a service: the first ones.
const CHANGES_MAX: usize = 500;
/// The events that are read at once.
const EVENTS: usize = 256;
/// The longest part of a history that is folded.
const FOLDED_MAX: u64 = 20_000;
/// The largest size of all states together, in bytes of their text.
const SIZE_MAX: usize = 2 << 20;

/// A record as a unit of a story has left it; see [`Reads::records_of`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PastRecord {
    /// The time of the attempt.
    pub at: Timestamp,
    /// The id of the message that caused the unit.
    pub causation_id: Option<Uuid>,
    /// The ids of the messages, timers and calls that are effects of the same unit, at most 32.
    pub effects: Vec<Uuid>,
    /// `aggregate`, `saga` or `entity`.
    pub kind: &'static str,
    /// The table: the `NAME` of the type, after `saga.` for sagas.
    pub table: String,
    /// The id within the table.
    pub id: String,
    /// The length of the history of an aggregate, and the version of another record. `None` if the
    /// unit has overwritten the record without reading it, or removed it.
    pub version: Option<u64>,
    /// The name of the state to which a saga has moved.
    pub moved_to: Option<String>,
    /// The state after the unit.
    pub state: PastState,
}

/// The state that a record had, as far as it is known. Encrypted personal values are masked.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum PastState {
    /// The state, folded from the history.
    History(Value),
    /// The record has no history, but no unit has written it since.
    Unchanged(Value),
    /// The record has no history and was written since.
    NotKept,
    /// The step has removed the record.
    Removed,
    /// The history or the states are too long to be shown.
    TooLong,
}

impl Reads {
    /// Returns the records that the units of a story have written in this service, in the order of
    /// their commits, with their states after each write: the first 500 writes.
    ///
    /// Units are noted that publish, send, call or set a timer, that append to a history, or that
    /// move a saga. The cost does not depend on the number of stories. Histories are folded up to
    /// their event 20,000.
    ///
    /// ```
    /// use wingbeat::{CorrelationId, Reads, Result, Timestamp};
    ///
    /// /// Returns the records that a story had changed by a time, with the version of each.
    /// async fn changed(
    ///     reads: &Reads,
    ///     story: CorrelationId,
    ///     by: Timestamp,
    /// ) -> Result<Vec<(String, Option<u64>)>> {
    ///     let all = reads.records_of(story).await?.into_iter();
    ///     let then = all.filter(|it| it.at <= by);
    ///     Ok(then.map(|it| (format!("{} {}", it.table, it.id), it.version)).collect())
    /// }
    /// # let _ = changed;
    /// ```
    ///
    /// # Errors
    ///
    /// A [store error](crate::Reads#store-errors); `undecodable` or `unknown_form` if a journal
    /// entry or an event cannot be read.
    pub async fn records_of(&self, story: CorrelationId) -> Result<Vec<PastRecord>> {
        let mut all: Vec<Change> = Vec::new();
        for body in self.service().store.journal(story).await? {
            let before = all.last().map_or_else(|| created(story), |it| it.made);
            all.extend(changes(story, &decode_entries(&body, before)?));
        }
        all.truncate(CHANGES_MAX);
        let mut known: Vec<Option<PastState>> = all.iter().map(|_| None).collect();
        self.fold(&all, &mut known).await?;
        self.compare(&all, &mut known).await?;
        let mut left = SIZE_MAX;
        let all = all.into_iter().zip(known);
        let then = all.map(|(change, known)| {
            let state = known.unwrap_or(PastState::NotKept).within(&mut left);
            self.past_record(change, state)
        });
        Ok(then.collect())
    }

    fn past_record(&self, change: Change, state: PastState) -> PastRecord {
        PastRecord {
            at: change.made,
            causation_id: change.causation_id,
            effects: change.effects,
            kind: self.kind(&change.table),
            version: match change.at {
                At::Sequence(number) | At::Version(number) => Some(number),
                At::Unknown | At::Removed => None,
            },
            table: change.table,
            id: change.id,
            moved_to: change.state,
            state,
        }
    }

    fn kind(&self, table: &str) -> &'static str {
        let past = &self.service().past;
        match (past.folds.get(table), past.sagas.get(table)) {
            (Some(_), _) => "aggregate",
            (_, Some(_)) => "saga",
            _ => "entity",
        }
    }

    /// Folds the histories of the aggregates.
    async fn fold(&self, all: &[Change], known: &mut [Option<PastState>]) -> Result<()> {
        for ((table, id), places) in by_record(all) {
            let Some(fold) = self.service().past.folds.get(table) else {
                continue;
            };
            let sequence = |place: &usize| match all[*place].at {
                At::Sequence(sequence) => Some((sequence, *place)),
                _ => None,
            };
            let mut wanted: Vec<(u64, usize)> = places.iter().filter_map(sequence).collect();
            wanted.sort_unstable();
            let lengths = wanted.iter().map(|(sequence, _)| *sequence).collect();
            let states = fold(self.service().store.clone(), id.to_owned(), lengths).await?;
            for ((_, place), state) in wanted.into_iter().zip(states) {
                known[place] = Some(state.map_or(PastState::TooLong, PastState::History));
            }
        }
        Ok(())
    }

    /// Compares the versions of records without a history with the current ones.
    async fn compare(&self, all: &[Change], known: &mut [Option<PastState>]) -> Result<()> {
        let versions = all
            .iter()
            .enumerate()
            .filter_map(|(place, it)| match it.at {
                At::Version(version) => Some((place, version)),
                _ => None,
            });
        // Only the last version of a record can be the current one.
        let mut last = BTreeMap::new();
        for (place, version) in versions {
            let record = (all[place].table.as_str(), all[place].id.as_str());
            let newest = last.entry(record).or_insert((version, place));
            *newest = (*newest).max((version, place));
        }
        let keys = last
            .keys()
            .map(|(table, id)| Key::new(Name::intern(table), *id));
        let records = self.service().store.load_all(keys.collect()).await?;
        for ((version, place), record) in last.into_values().zip(records) {
            if let Some(record) = record.filter(|it| it.version == version) {
                known[place] = Some(PastState::Unchanged(decode(&record.body)?));
            }
        }
        for (change, known) in all.iter().zip(known) {
            if change.at == At::Removed {
                *known = Some(PastState::Removed);
            }
        }
        Ok(())
    }
}

impl PastState {
    /// Masks personal values, and drops the state if it is larger than what is left.
    fn within(self, left: &mut usize) -> Self {
        let mut fits = |value: Value| {
            let value = masked(value);
            let size = value.to_string().len();
            let fits = size <= *left;
            *left = left.saturating_sub(size);
            fits.then_some(value)
        };
        match self {
            Self::History(value) => fits(value).map_or(Self::TooLong, Self::History),
            Self::Unchanged(value) => fits(value).map_or(Self::TooLong, Self::Unchanged),
            known => known,
        }
    }
}

/// Returns the function that folds histories of an aggregate type.
pub(super) fn of_aggregate<A: Aggregate>() -> Fold {
    Arc::new(|store, id, lengths| Box::pin(async move { fold::<A>(&store, id, lengths).await }))
}

async fn fold<A: Aggregate>(
    store: &ServiceStore,
    id: String,
    lengths: Vec<u64>,
) -> Result<Vec<Option<Value>>> {
    let key = Key::new(Name::new(A::NAME), id);
    let upcasts = A::upcasts();
    let mut states = Vec::with_capacity(lengths.len());
    let (mut state, mut reached) = (A::default(), 0);
    let mut page = Vec::new().into_iter();
    for length in lengths {
        while reached < length && length <= FOLDED_MAX {
            let Some(event) = page.next() else {
                let events = store.history_page(&key, reached, EVENTS).await?;
                if events.is_empty() {
                    break;
                }
                page = events.into_iter();
                continue;
            };
            state.apply(&upcasts.read(&event.body)?);
            reached = event.sequence;
        }
        let value = (reached == length).then(|| serde_json::to_value(&state).ok());
        states.push(value.flatten());
    }
    Ok(states)
}

/// Replaces encrypted personal values, so that operators see neither them nor their ciphertexts.
pub(crate) fn masked(value: Value) -> Value {
    match value {
        Value::Object(fields) if fields.len() == 1 && fields.contains_key("wb.encrypted") => {
            Value::from("(personal)")
        }
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(name, it)| (name, masked(it)));
            Value::Object(fields.collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(masked).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn personal_values_are_masked_at_any_depth() {
        let stored = json!({
            "name": {"wb.encrypted": "00ff"}, "lines": [{"to": {"wb.encrypted": ""}, "n": 1}],
        });
        let shown = json!({"name": "(personal)", "lines": [{"to": "(personal)", "n": 1}]});
        assert_eq!(masked(stored), shown);
    }

    #[test]
    fn states_that_are_too_large_together_are_left_out() {
        let mut left = 12;
        let kept = PastState::History(json!("12345678")).within(&mut left);
        assert!(matches!(kept, PastState::History(_)));
        let dropped = PastState::Unchanged(json!("12345678")).within(&mut left);
        assert!(matches!(dropped, PastState::TooLong));
    }
}
