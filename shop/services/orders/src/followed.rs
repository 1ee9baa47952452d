//! The feeds with open streams in this process. One read per round polls all of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use shop_contracts::UserId;
use tokio::sync::watch;
use wingbeat::telemetry::LogLimit;
use wingbeat::{Reads, Result};

use crate::feed::Feed;

/// The pause between two polls of feeds that changed recently.
const POLL: Duration = Duration::from_millis(25);
/// The time without a change after which a feed is idle and polled less often.
const IDLE_AFTER: Duration = Duration::from_secs(10);
/// Idle feeds take part in every eighth poll.
const IDLE_EVERY: u64 = 8;

/// The feeds with open streams in this process. Clones share them.
#[derive(Clone, Default)]
pub struct Followed(Arc<Mutex<Inner>>);

/// Limits the log lines about feeds that cannot be read: clients open their streams again.
static UNREADABLE: LogLimit = LogLimit::new(1, Duration::from_secs(5));

#[derive(Default)]
struct Inner {
    feeds: BTreeMap<UserId, Followers>,
    /// `true` if the polling task runs.
    polling: bool,
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

    /// Follows a feed. The receiver gets the number of the newest change; it closes if the store is
    /// unavailable.
    pub(crate) fn follow(&self, reads: &Reads, user: UserId) -> watch::Receiver<u64> {
        let runtime = reads.runtime();
        let mut inner = self.lock();
        let followers = inner.feeds.entry(user).or_insert_with(|| Followers {
            newest: watch::Sender::new(0),
            changed_at: Duration::ZERO,
        });
        followers.changed_at = runtime.elapsed();
        let receiver = followers.newest.subscribe();
        if !inner.polling {
            inner.polling = true;
            let polling = self.clone().poll(reads.clone());
            runtime.spawn(Box::pin(polling));
        }
        receiver
    }

    /// Polls the feeds until no stream is open.
    async fn poll(self, reads: Reads) {
        for round in 0_u64.. {
            let runtime = reads.runtime();
            let Some(users) = self.users(runtime.elapsed(), round.is_multiple_of(IDLE_EVERY))
            else {
                return;
            };
            match newest(&reads, &users).await {
                Ok(newest) => self.notify(runtime.elapsed(), &users, &newest),
                Err(why) => {
                    if let Some(suppressed) = UNREADABLE.admit(runtime.elapsed()) {
                        tracing::warn!(
                            code = why.code(),
                            suppressed,
                            "closing all order streams, because the feeds cannot be read: {why}"
                        );
                    }
                    self.lock().feeds.clear();
                }
            }
            runtime.sleep(POLL).await;
        }
    }

    /// Returns the users whose feeds are due for a poll. Returns `None` and ends the polling if no
    /// stream is open.
    fn users(&self, now: Duration, idle_too: bool) -> Option<Vec<UserId>> {
        let mut inner = self.lock();
        inner.feeds.retain(|_, it| it.newest.receiver_count() > 0);
        inner.polling = !inner.feeds.is_empty();
        let due = |it: &Followers| idle_too || now.saturating_sub(it.changed_at) < IDLE_AFTER;
        let feeds = inner.feeds.iter().filter(|(_, it)| due(it));
        let users = feeds.map(|(user, _)| *user).collect();
        inner.polling.then_some(users)
    }

    fn notify(&self, now: Duration, users: &[UserId], newest: &[u64]) {
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

/// Returns the numbers of the newest changes of these users' feeds, 0 before the first. A feed that
/// cannot be decoded, because a later release wrote it, counts as empty, so that the other streams
/// continue.
pub(crate) async fn newest(reads: &Reads, users: &[UserId]) -> Result<Vec<u64>> {
    if users.is_empty() {
        return Ok(Vec::new());
    }
    let feeds = reads.entities_of::<Feed>(users).await?.into_iter();
    let newest = feeds.map(|feed| feed.ok()??.newest);
    Ok(newest.map(|row| row.map_or(0, |row| row.version)).collect())
}
