//! The share of the partitions that a replica handles.
//!
//! Each process of a service writes a record every two seconds. Replicas whose records change are
//! alive, and all compute the same shares from them. No clock is compared with another one. While
//! two replicas disagree, both consume a partition, or neither does: the broker delivers to one of
//! them, so the order does not depend on the shares.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wingbeat_core::unit::Write;
use wingbeat_core::{Key, Name, Result};

use super::partition;
use super::router::Router;
use super::spread::{SPREADS, Spread};
use crate::unit::{ServiceContext, remove, run_unit};
use crate::{decode, encode};

/// The table of the replicas of a service; ids are those of processes.
pub(super) const MEMBERS: Name = Name::new("wb.members");
/// The pause between two writes of a record.
const BEAT: Duration = Duration::from_secs(2);
/// The time after which a replica counts as dead whose record has not changed.
const SILENT: Duration = Duration::from_secs(7);
/// The time after which the store deletes the record of a dead replica.
const EXPIRES: Duration = Duration::from_secs(60);
/// Records read at once. No service has that many replicas or subscriptions.
const RECORDS_MAX: usize = 1_000;

/// The record of a replica.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Member {
    /// The number of partitions that it can handle, by the queue of the subscription.
    partitions: BTreeMap<String, u32>,
}

/// A replica as this one sees it.
struct Seen {
    version: u64,
    /// The time of the last change that this replica saw; `None` before the first.
    changed: Option<Duration>,
    member: Member,
}

/// A subscription with partitions.
pub(crate) struct Shared {
    pub(crate) router: Arc<Router>,
    /// The number of partitions that this process can handle.
    pub(crate) count: u32,
}

/// The partitions of one service in this process.
pub(crate) struct Shares {
    me: Uuid,
    all: Vec<Shared>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    beat: Option<Duration>,
    seen: BTreeMap<String, Seen>,
    /// The partitions of other replicas.
    elsewhere: BTreeSet<Name>,
}

impl Shares {
    pub(crate) fn new(me: Uuid, all: Vec<(Arc<Router>, u32)>) -> Self {
        let all = all.into_iter();
        Self {
            me,
            all: all
                .map(|(router, count)| Shared { router, count })
                .collect(),
            state: Mutex::default(),
        }
    }

    /// Returns whether another replica handles this partition, as of the last
    /// [`read`](Self::read).
    pub(crate) fn is_elsewhere(&self, queue: Name) -> bool {
        self.state().elsewhere.contains(&queue)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes the record of this replica if that is due, and reads those of the others.
    pub(crate) async fn read(&self, service: &Arc<ServiceContext>) -> Result<()> {
        if self.all.is_empty() {
            return Ok(());
        }
        for (queue, record) in service.store.scan(SPREADS, None, RECORDS_MAX).await? {
            let spread: Spread = decode(&record.body)?;
            let found = self
                .all
                .iter()
                .find(|it| it.router.queue().as_str() == queue);
            if let Some(shared) = found {
                shared.router.noticed(&spread);
            }
        }
        if self.all.iter().all(|it| it.count == 0) {
            return Ok(()); // Ordered subscriptions that this process sees without partitions.
        }
        self.beat(service).await?;
        let members = service.store.scan(MEMBERS, None, RECORDS_MAX).await?;
        let members = members.into_iter().map(|(id, record)| {
            let member: Member = decode(&record.body)?;
            Ok((id, record.version, member))
        });
        let members = members.collect::<Result<Vec<_>>>()?;
        self.state().see(members, service.runtime.elapsed());
        self.divide(service.runtime.elapsed());
        Ok(())
    }

    async fn beat(&self, service: &Arc<ServiceContext>) -> Result<()> {
        let now = service.runtime.elapsed();
        if self.state().beat.is_some_and(|at| now < at + BEAT) {
            return Ok(());
        }
        let counts = self.all.iter();
        let counts = counts.map(|it| (it.router.queue().to_string(), it.count));
        let member = &Member {
            partitions: counts.collect(),
        };
        let key = &self.key();
        run_unit(service, |scope| async move {
            scope.load(key).await?;
            scope.write(Write {
                key: key.clone(),
                body: Some(encode(member)),
                due_at: None,
                expires_at: Some(scope.now() + EXPIRES),
            })
        })
        .await?;
        self.state().beat = Some(now);
        Ok(())
    }

    fn key(&self) -> Key {
        Key::new(MEMBERS, self.me.to_string())
    }

    /// Removes the record of this replica, so that the others take its share at once.
    pub(crate) async fn leave(&self, service: &Arc<ServiceContext>) {
        if self.all.iter().all(|it| it.count == 0) {
            return;
        }
        let key = &self.key();
        let left = run_unit(service, |scope| async move {
            scope.load(key).await?;
            scope.write(remove(key.clone()))
        });
        if let Err(why) = left.await {
            tracing::debug!(service = %service.name, code = why.code(), "cannot give the partitions away: {why}");
        }
    }

    /// Computes which partitions this replica handles.
    fn divide(&self, now: Duration) {
        let mut state = self.state();
        let mut elsewhere = BTreeSet::new();
        let me = self.me.to_string();
        for (offset, shared) in self.all.iter().enumerate() {
            let queue = shared.router.queue();
            for number in 0..shared.count {
                let able = state.able(&me, queue, number, now);
                // Different subscriptions begin with different replicas.
                let at = (offset + number as usize) % able.len().max(1);
                if able.get(at).is_some_and(|id| *id != me) {
                    elsewhere.insert(partition(queue, number));
                }
            }
        }
        state.elsewhere = elsewhere;
    }
}

impl State {
    /// Notes the records of the replicas. One that is seen for the first time counts as alive once
    /// its record changes: it may have died before.
    fn see(&mut self, members: Vec<(String, u64, Member)>, now: Duration) {
        let mut seen = BTreeMap::new();
        for (id, version, member) in members {
            let before = self.seen.remove(&id);
            let changed = match before {
                Some(it) if it.version == version => it.changed,
                Some(_) => Some(now),
                None => None,
            };
            let now_seen = Seen {
                version,
                changed,
                member,
            };
            seen.insert(id, now_seen);
        }
        self.seen = seen;
    }

    /// Returns the live replicas that can handle a partition, in order.
    fn able<'a>(&'a self, me: &'a str, queue: Name, number: u32, now: Duration) -> Vec<&'a str> {
        let others = self.seen.iter().filter(|(id, seen)| {
            let is_alive = seen.changed.is_some_and(|at| now < at + SILENT);
            let count = seen.member.partitions.get(queue.as_str());
            id.as_str() != me && is_alive && count.is_some_and(|count| *count > number)
        });
        let mut able: Vec<&str> = others.map(|(id, _)| id.as_str()).collect();
        able.push(me);
        able.sort_unstable();
        able
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE: Name = Name::new("meters.read");
    const SECOND: Duration = Duration::from_secs(1);

    fn members(all: &[(&str, u64, u32)]) -> Vec<(String, u64, Member)> {
        let member = |(id, version, count): &(&str, u64, u32)| {
            let partitions = [(QUEUE.to_string(), *count)].into();
            ((*id).to_owned(), *version, Member { partitions })
        };
        all.iter().map(member).collect()
    }

    #[test]
    fn a_replica_is_alive_while_its_record_changes() {
        let mut state = State::default();
        state.see(members(&[("a", 5, 4), ("c", 9, 4)]), SECOND);
        assert_eq!(state.able("b", QUEUE, 0, SECOND), ["b"], "they may be dead");
        state.see(members(&[("a", 6, 4), ("c", 9, 4)]), 2 * SECOND);
        assert_eq!(state.able("b", QUEUE, 0, 2 * SECOND), ["a", "b"]);
        assert_eq!(state.able("b", QUEUE, 0, 8 * SECOND), ["a", "b"]);
        assert_eq!(state.able("b", QUEUE, 0, 9 * SECOND), ["b"]);
        state.see(members(&[("c", 10, 4)]), 3 * SECOND);
        assert_eq!(
            state.able("b", QUEUE, 0, 3 * SECOND),
            ["b", "c"],
            "`a` left"
        );
    }

    #[test]
    fn an_older_replica_gets_no_partition_that_it_does_not_know() {
        let mut state = State::default();
        state.see(members(&[("a", 1, 2)]), SECOND);
        state.see(members(&[("a", 2, 2)]), SECOND);
        assert_eq!(state.able("b", QUEUE, 1, SECOND), ["a", "b"]);
        assert_eq!(state.able("b", QUEUE, 2, SECOND), ["b"]);
    }
}
