//! Dead letters by cause. Each group has one record with its figures, so a list of groups reads no
//! dead letter.
//!
//! Dead letters are written by many handlers and replicas at once. A common record that each of
//! them changes would make their units stale, so a dead letter only leaves a *mark* beside it.
//! [`Sorting`](super::sorting::Sorting) takes the marks a moment later, many in one unit, counts
//! them in the records of their groups, and writes the index rows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use wingbeat_core::store::{Position, Query, Select};
use wingbeat_core::unit::Write;
use wingbeat_core::{Key, Name, Result, ServiceStore, Timestamp};

use super::dead_letter::DeadLetter;
use super::summary::{BY_GROUP, INDEX, MARKS, Summary};
use crate::unit::{OwnTable, Scope, remove};
use crate::{decode, encode};

/// The table of groups.
pub(super) const GROUPS: Name = Name::new("wb.incident");

/// The groups of one service. Dead letters of further causes are in the group [`OTHER`].
pub(super) const GROUPS_MAX: usize = 1_000;
/// The group of dead letters whose causes have no group of their own.
pub(super) const OTHER: &str = "0000000000000000";
/// Message keys that are listed for a group.
const KEYS_LISTED: usize = 8;
/// Hashes of message keys that are kept for a group. With fewer different keys their number is
/// exact, otherwise it is estimated (k minimum values; error about 1/√64).
const HASHES: usize = 64;
/// The minutes for which the failures of a group are counted apart.
const MINUTES: usize = 60;

/// Groups, for the verification of what is stored.
pub(crate) const STORED: [OwnTable; 2] = [
    OwnTable::of::<Incident>(GROUPS),
    OwnTable::of::<Summary>(MARKS),
];

/// Dead letters with the same cause: one subscription, message type and error code, and one shape
/// of the error message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Incident {
    /// The fingerprint of its dead letters.
    pub group: String,
    /// The queue that they came from.
    pub subscription: String,
    /// The message type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The error code; `other_causes` if the service has too many groups.
    pub reason: String,
    /// The error message of the latest one, shortened.
    pub error: String,
    /// The time at which the first one became a dead letter.
    pub first_at: Timestamp,
    /// The time at which the latest one did.
    pub last_at: Timestamp,
    /// The number of dead letters that wait for a decision.
    pub count: u64,
    /// The number of failures since the first one, those of retried dead letters included.
    pub failures: u64,
    /// Some keys of the messages.
    pub keys: Vec<String>,
    /// The smallest hashes of the keys of all messages.
    #[serde(default)]
    hashes: Vec<u64>,
    /// Failures by minute since the epoch.
    #[serde(default)]
    minutes: Vec<(i64, u32)>,
}

/// Returns the minute of a time.
fn minute(at: Timestamp) -> i64 {
    at.as_micros().div_euclid(60_000_000)
}

impl Incident {
    pub(super) fn new(group: &str, first: &Summary) -> Self {
        let is_other = group == OTHER;
        Self {
            group: group.to_owned(),
            subscription: if is_other {
                String::new()
            } else {
                first.subscription.clone()
            },
            kind: if is_other {
                String::new()
            } else {
                first.kind.clone()
            },
            reason: if is_other {
                "other_causes".to_owned()
            } else {
                first.reason.clone()
            },
            error: String::new(),
            first_at: first.last_at,
            last_at: first.last_at,
            count: 0,
            failures: 0,
            keys: Vec::new(),
            hashes: Vec::new(),
            minutes: Vec::new(),
        }
    }

    /// Counts a dead letter.
    pub(super) fn count(&mut self, letter: &Summary) {
        self.count += 1;
        self.failures += 1;
        self.first_at = self.first_at.min(letter.last_at);
        if letter.last_at >= self.last_at {
            self.last_at = letter.last_at;
            self.error.clone_from(&letter.error);
        }
        let hash = hash(&letter.key);
        if let Err(at) = self.hashes.binary_search(&hash) {
            self.hashes.insert(at, hash);
            self.hashes.truncate(HASHES);
            if self.keys.len() < KEYS_LISTED && !self.keys.contains(&letter.key) {
                self.keys.push(letter.key.clone());
            }
        }
        let minute = minute(letter.last_at);
        match self.minutes.binary_search_by_key(&minute, |(it, _)| *it) {
            Ok(at) => self.minutes[at].1 += 1,
            Err(at) => self.minutes.insert(at, (minute, 1)),
        }
        let surplus = self.minutes.len().saturating_sub(MINUTES);
        self.minutes.drain(..surplus);
    }

    /// Returns the number of different message keys: exact up to 63, otherwise estimated.
    #[must_use]
    pub fn affected_keys(&self) -> u64 {
        match self.hashes.last() {
            #[allow(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "an estimate"
            )]
            Some(largest) if self.hashes.len() == HASHES => {
                let part = *largest as f64 / u64::MAX as f64;
                ((HASHES - 1) as f64 / part) as u64
            }
            _ => self.hashes.len() as u64,
        }
    }

    /// Returns the number of failures in the last `minutes` minutes, the current one included. At
    /// most an hour is known.
    #[must_use]
    pub fn failures_within(&self, minutes: u32, now: Timestamp) -> u64 {
        let since = minute(now) - i64::from(minutes);
        let counted = self.minutes.iter().filter(|(at, _)| *at > since);
        counted.map(|(_, count)| u64::from(*count)).sum()
    }
}

/// Returns a hash of a key whose values are spread evenly.
fn hash(key: &str) -> u64 {
    use sha2::{Digest as _, Sha256};
    let digest = Sha256::digest(key);
    let first = digest.first_chunk().expect("a digest has 32 bytes");
    u64::from_be_bytes(*first)
}

pub(super) fn group_key(group: &str) -> Key {
    Key::new(GROUPS, group)
}

pub(super) fn put(key: Key, incident: &Incident) -> Write {
    Write {
        key,
        body: Some(encode(incident)),
        due_at: None,
        expires_at: None,
    }
}

/// Returns the groups of a service, the largest first.
pub(crate) async fn groups(store: &ServiceStore) -> Result<Vec<Incident>> {
    // One more: the group of other causes.
    let records = store.scan(GROUPS, None, GROUPS_MAX + 1).await?;
    let groups = records.iter().map(|(_, record)| decode(&record.body));
    let mut groups: Vec<Incident> = groups.collect::<Result<_>>()?;
    groups.sort_by_key(|it| std::cmp::Reverse((it.count, it.last_at)));
    Ok(groups)
}

/// Returns a page of the sorted dead letters of a group, in the order of their ids.
pub(crate) async fn letters(
    store: &ServiceStore,
    group: &str,
    after: Option<Position>,
    limit: usize,
) -> Result<(Vec<Summary>, Option<Position>)> {
    let select = Select::Prefix {
        column: BY_GROUP,
        prefix: group.to_owned(),
        descending: false,
    };
    let page = store.rows(Query {
        view: INDEX,
        select,
        after,
        limit,
    });
    let page = page.await?;
    let rows = page.rows.iter().map(|(_, row)| decode(&row.body));
    Ok((rows.collect::<Result<_>>()?, page.next))
}

/// Dead letters that a unit takes out of their groups.
#[derive(Default)]
pub(super) struct TakenOut(BTreeMap<String, u64>);

impl TakenOut {
    /// Removes a dead letter's mark, or else its index row. Its group is changed by
    /// [`apply`](Self::apply).
    pub(super) async fn take(&mut self, scope: &Scope, letter: &DeadLetter) -> Result<()> {
        if let Some(mark) = letter.mark {
            let mark = Key::new(MARKS, mark.to_string());
            if scope.load(&mark).await?.body.is_some() {
                return scope.write(remove(mark)); // It was not counted yet.
            }
        }
        let id = letter.id.to_string();
        // Its row does not change any more: it is written by the unit that removes the mark.
        let Some(row) = scope.service().store.row(INDEX, &id).await? else {
            return Ok(()); // A dead letter of an earlier release that was not found yet.
        };
        scope.put_row(INDEX, id, None)?;
        let mut columns = row.columns.into_iter();
        if let Some((_, group)) = columns.find(|(column, _)| *column == BY_GROUP) {
            *self.0.entry(group).or_default() += 1;
        }
        Ok(())
    }

    /// Removes the index rows of dead letters that were found in the index, with their groups.
    pub(super) async fn take_indexed(
        &mut self,
        scope: &Scope,
        letters: &[(DeadLetter, String)],
    ) -> Result<()> {
        let marks = letters.iter().filter_map(|(letter, _)| letter.mark);
        let marks: Vec<Key> = marks
            .map(|mark| Key::new(MARKS, mark.to_string()))
            .collect();
        // One that has a mark failed again since the index was read: the mark is newer.
        let loaded = try_join_all(marks.iter().map(|mark| scope.load(mark))).await?;
        let unsorted = marks.iter().zip(loaded).filter(|(_, it)| it.body.is_some());
        let unsorted: BTreeSet<&str> = unsorted.map(|(mark, _)| &*mark.id).collect();
        for (letter, group) in letters {
            let mark = letter.mark.map(|mark| mark.to_string()).unwrap_or_default();
            if unsorted.contains(&*mark) {
                scope.write(remove(Key::new(MARKS, mark)))?;
                continue;
            }
            scope.put_row(INDEX, letter.id.to_string(), None)?;
            *self.0.entry(group.clone()).or_default() += 1;
        }
        Ok(())
    }

    /// Subtracts them from the figures of their groups. Empty groups are removed.
    pub(super) async fn apply(self, scope: &Scope) -> Result<()> {
        for (group, count) in self.0 {
            let key = group_key(&group);
            let Some(body) = scope.load(&key).await?.body else {
                continue;
            };
            let mut incident: Incident = decode(&body)?;
            incident.count = incident.count.saturating_sub(count);
            scope.write(if incident.count == 0 {
                remove(key)
            } else {
                put(key, &incident)
            })?;
        }
        Ok(())
    }
}

/// The age of marks that most looks pass over. A unit that was made earlier is committed by then,
/// except after an outage; looks from the beginning find its marks.
pub(super) const SETTLES_WITHIN: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn letter(key: usize, second: i64) -> Summary {
        Summary {
            id: Uuid::from_u128(key as u128),
            subscription: "shop.sold".into(),
            kind: "shop.sold.v1".into(),
            key: format!("key-{key}"),
            reason: "no".into(),
            error: format!("it fails at {second}"),
            attempts: 1,
            retries: 0,
            first_at: None,
            last_at: Timestamp::from_millis(second * 1_000),
            fingerprint: "1".into(),
        }
    }

    fn incident(letters: impl Iterator<Item = Summary>) -> Incident {
        let mut letters = letters.peekable();
        let mut incident = Incident::new("1", letters.peek().expect("one at least"));
        letters.for_each(|letter| incident.count(&letter));
        incident
    }

    #[test]
    fn a_group_counts_its_failures_by_minute() {
        let now = Timestamp::from_millis(600_000);
        let found = incident((0..600).map(|second| letter(1, second)));
        assert_eq!((found.count, found.failures), (600, 600));
        assert_eq!(
            found.failures_within(5, now),
            240,
            "the current minute is empty"
        );
        assert_eq!(found.failures_within(60, now), 600);
        assert_eq!(found.first_at, Timestamp::default());
        assert_eq!(found.error, "it fails at 599");
    }

    #[test]
    fn a_group_stays_small_and_counts_different_keys() {
        for keys in [1, 7, 63] {
            let found = incident((0..keys * 3).map(|it| letter(it % keys, 0)));
            assert_eq!(found.affected_keys(), keys as u64);
            assert_eq!(found.keys.len(), keys.min(KEYS_LISTED));
        }
        let found = incident((0..20_000).map(|it| letter(it % 10_000, it as i64)));
        let estimate = found.affected_keys();
        assert!((7_000..14_000).contains(&estimate), "{estimate}");
        assert!(encode(&found).len() < 4_096);
    }
}
