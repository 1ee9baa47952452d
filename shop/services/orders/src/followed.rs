//! The feeds that somebody follows in this process, looked at together: one read for all of them, however many.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shop_contracts::UserId;
use tokio::sync::watch;
use wingbeat::{Reads, Result};

use crate::feed::Feed;

/// The pause between looks at feeds that have changed lately.
const LOOK: Duration = Duration::from_millis(25);
/// After so long without a change a feed is looked at less often.
const IDLE_AFTER: Duration = Duration::from_secs(10);
/// Idle feeds are left out of all looks but each of this number.
const IDLE_EVERY: u64 = 8;

/// See the module.
#[derive(Clone, Default)]
pub struct Followed(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    feeds: BTreeMap<UserId, Followers>,
    /// Somebody looks.
    looking: bool,
}

struct Followers {
    /// The number of the newest change.
    newest: watch::Sender<u64>,
    changed_at: Duration,
}

impl Followed {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows a feed: the number of its newest change, from now on. Closed when the store does not answer.
    pub(crate) fn follow(&self, reads: &Reads, user: UserId) -> watch::Receiver<u64> {
        let runtime = reads.runtime();
        let mut inner = self.lock();
        let followers = inner.feeds.entry(user).or_insert_with(|| Followers {
            newest: watch::Sender::new(0),
            changed_at: Duration::ZERO,
        });
        followers.changed_at = runtime.elapsed();
        let receiver = followers.newest.subscribe();
        if !inner.looking {
            inner.looking = true;
            let looking = self.clone().look(reads.clone());
            runtime.spawn(Box::pin(looking));
        }
        receiver
    }

    /// Looks again and again, until nobody follows any more.
    async fn look(self, reads: Reads) {
        for round in 0_u64.. {
            let runtime = reads.runtime();
            let Some(users) = self.users(runtime.elapsed(), round.is_multiple_of(IDLE_EVERY))
            else {
                return;
            };
            match newest(&reads, &users).await {
                Ok(newest) => self.tell(runtime.elapsed(), &users, &newest),
                Err(why) => {
                    tracing::warn!("orders cannot be followed: {why}");
                    self.lock().feeds.clear();
                }
            }
            runtime.sleep(LOOK).await;
        }
    }

    /// Whose feeds are looked at now; `None`, and nobody looks, when nobody follows any more.
    fn users(&self, now: Duration, idle_too: bool) -> Option<Vec<UserId>> {
        let mut inner = self.lock();
        inner.feeds.retain(|_, it| it.newest.receiver_count() > 0);
        inner.looking = !inner.feeds.is_empty();
        let due = |it: &Followers| idle_too || now.saturating_sub(it.changed_at) < IDLE_AFTER;
        let feeds = inner.feeds.iter().filter(|(_, it)| due(it));
        let users = feeds.map(|(user, _)| *user).collect();
        inner.looking.then_some(users)
    }

    fn tell(&self, now: Duration, users: &[UserId], newest: &[u64]) {
        let mut inner = self.lock();
        for (user, newest) in users.iter().zip(newest) {
            let Some(followers) = inner.feeds.get_mut(user) else {
                continue;
            };
            let is_new = followers.newest.send_if_modified(|known| {
                let is_new = *newest > *known;
                *known = (*known).max(*newest);
                is_new
            });
            if is_new {
                followers.changed_at = now;
            }
        }
    }
}

/// The numbers of the newest changes of these users' feeds, 0 before the first. One that cannot be read (a later
/// release has written it) has none: its follower sees no news, and the others theirs.
pub(crate) async fn newest(reads: &Reads, users: &[UserId]) -> Result<Vec<u64>> {
    if users.is_empty() {
        return Ok(Vec::new());
    }
    let feeds = reads.entities_of::<Feed>(users).await?.into_iter();
    let newest = feeds.map(|feed| feed.ok()??.newest);
    Ok(newest.map(|row| row.map_or(0, |row| row.version)).collect())
}
