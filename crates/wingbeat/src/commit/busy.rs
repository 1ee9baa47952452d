//! The keys whose next message must wait, so that the relay publishes the messages of a key in
//! their order.

use std::hash::{BuildHasher as _, BuildHasherDefault};
use std::time::Duration;

use wingbeat_core::collections::FixedHasher;
use wingbeat_core::{Envelope, HashMap, HashSet, MessageId};

/// The time after the end of a pause from which a message that cannot be claimed counts as claimed
/// by another process. The pause begins a little later in the store than here.
const ELSEWHERE_AFTER: Duration = Duration::from_secs(1);
/// The time after the end of a pause for which a message is remembered at most.
const FORGET_AFTER: Duration = Duration::from_secs(10);
/// The largest number of messages that are remembered. The order of further ones may change.
const REMEMBERED_MAX: usize = 1 << 14;

/// A hash of the key. Two keys that collide only wait for each other.
pub(crate) fn key(message: &Envelope) -> u64 {
    BuildHasherDefault::<FixedHasher>::default().hash_one(&message.key)
}

/// The keys of messages that are being published, and of those that are in the outbox because the
/// broker has not confirmed them or an earlier one.
#[derive(Default)]
pub(crate) struct Busy {
    publishing: HashSet<u64>,
    held: HashMap<u64, Held>,
    /// The keys of the messages in `held`.
    keys: HashMap<MessageId, u64>,
}

/// The messages of a key that the outbox keeps.
#[derive(Default)]
struct Held {
    /// Each with the time from which it can be claimed.
    messages: HashMap<MessageId, Waiting>,
    /// The time from which all of them can be claimed.
    free_at: Duration,
}

struct Waiting {
    free_at: Duration,
    /// `false` for a later message that was not published yet.
    unconfirmed: bool,
}

impl Busy {
    /// Marks the keys of these messages as being published. Returns them for [`Self::done`].
    pub(crate) fn begin(&mut self, messages: &[Envelope]) -> Vec<u64> {
        let keys: Vec<u64> = messages.iter().map(key).collect();
        self.publishing.extend(&keys);
        keys
    }

    pub(crate) fn done(&mut self, keys: &[u64]) {
        for key in keys {
            self.publishing.remove(key);
        }
    }

    /// Returns whether a message with the key is being published.
    pub(super) fn is_publishing(&self, key: u64) -> bool {
        self.publishing.contains(&key)
    }

    /// Returns whether a message with the key is kept in the outbox.
    pub(super) fn is_held(&self, key: u64) -> bool {
        self.held.contains_key(&key)
    }

    /// Records that the broker has not confirmed a message, which can be claimed from `free_at` on.
    pub(crate) fn unconfirmed(&mut self, key: u64, id: MessageId, free_at: Duration) {
        self.remember(key, id, free_at, true);
    }

    /// Records that a message stays in the outbox until `free_at`, and until earlier messages of
    /// its key can be claimed. Returns that time.
    pub(super) fn leave(&mut self, key: u64, id: MessageId, free_at: Duration) -> Duration {
        let earlier = self.held.get(&key).map_or(free_at, |held| held.free_at);
        let free_at = free_at.max(earlier);
        self.remember(key, id, free_at, false);
        free_at
    }

    fn remember(&mut self, key: u64, id: MessageId, free_at: Duration, unconfirmed: bool) {
        if self.keys.len() >= REMEMBERED_MAX && !self.keys.contains_key(&id) {
            return;
        }
        self.keys.insert(id, key);
        let held = self.held.entry(key).or_default();
        held.free_at = held.free_at.max(free_at);
        let waiting = Waiting {
            free_at,
            unconfirmed,
        };
        held.messages.insert(id, waiting);
    }

    /// Splits messages that were claimed from the outbox, in their order: those to publish, and
    /// those that wait for the retry of an earlier message, with the rest of its pause.
    pub(crate) fn split(
        &self,
        claimed: Vec<Envelope>,
        now: Duration,
    ) -> (Vec<Envelope>, Vec<(MessageId, Duration)>) {
        let mut waiting = Vec::new();
        let mut retried: HashSet<u64> = HashSet::default();
        let mut go = claimed;
        go.retain(|message| {
            let key = key(message);
            let Some(held) = self.held.get(&key) else {
                return true;
            };
            let known = held.messages.get(&message.id);
            if known.is_some_and(|it| it.unconfirmed) {
                retried.insert(key);
                return true;
            }
            let pause = held.free_at.saturating_sub(now);
            let goes = pause.is_zero() && !retried.contains(&key);
            if !goes {
                waiting.push((message.id, pause));
            }
            goes
        });
        (go, waiting)
    }

    /// Forgets messages that were published.
    pub(crate) fn published(&mut self, ids: &[MessageId]) {
        for id in ids {
            let Some(key) = self.keys.remove(id) else {
                continue;
            };
            if let Some(held) = self.held.get_mut(&key) {
                held.messages.remove(id);
                if held.messages.is_empty() {
                    self.held.remove(&key);
                }
            }
        }
    }

    /// Forgets messages that other processes have claimed: those that could be claimed and were
    /// not. `claimed` are all messages that could, or the first ones.
    pub(crate) fn forget(&mut self, claimed: &[Envelope], is_complete: bool, now: Duration) {
        if self.held.is_empty() {
            return;
        }
        let claimed: HashSet<MessageId> = claimed.iter().map(|message| message.id).collect();
        let patience = if is_complete {
            ELSEWHERE_AFTER
        } else {
            FORGET_AFTER
        };
        let gone =
            |id: &MessageId, it: &Waiting| now >= it.free_at + patience && !claimed.contains(id);
        let keys = &mut self.keys;
        self.held.retain(|_, held| {
            held.messages.retain(|id, it| {
                let is_gone = gone(id, it);
                if is_gone {
                    keys.remove(id);
                }
                !is_gone
            });
            !held.messages.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use wingbeat_core::{Kind, Timestamp};

    use super::*;

    fn message(key: &str, number: u128) -> Envelope {
        let id = uuid::Uuid::from_u128(number);
        Envelope {
            id: id.into(),
            source: "s".into(),
            kind: "k.v1".into(),
            role: Kind::Event,
            key: key.into(),
            time: Timestamp::from_millis(1),
            correlation: id.into(),
            causation: None,
            sequence: None,
            operation: None,
            traceparent: None,
            propagation: Default::default(),
            signature: None,
            dialog: None,
            body: Bytes::new(),
        }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Message 1 of the key `a` is unconfirmed and is retried after 4 s.
    fn busy() -> Busy {
        let (mut busy, first) = (Busy::default(), message("a", 1));
        busy.unconfirmed(key(&first), first.id, at(4));
        busy
    }

    #[test]
    fn later_messages_of_a_key_wait_for_the_retry() {
        let mut busy = busy();
        let (first, second, other) = (message("a", 1), message("a", 2), message("b", 3));
        assert_eq!(busy.leave(key(&second), second.id, at(1)), at(4));
        let claimed = vec![second.clone(), other.clone()];
        let (go, waiting) = busy.split(claimed, at(1));
        assert_eq!((go, waiting), (vec![other], vec![(second.id, at(3))]));
        let claimed = vec![first.clone(), second.clone()];
        let (go, waiting) = busy.split(claimed, at(4));
        assert_eq!(go, std::slice::from_ref(&first), "one after the other");
        assert_eq!(waiting, [(second.id, at(0))]);
        busy.published(&[first.id]);
        assert!(busy.is_held(key(&second)), "the third must not overtake");
        let (go, waiting) = busy.split(vec![second.clone()], at(4));
        assert_eq!((go, waiting), (vec![second.clone()], vec![]));
        busy.published(&[second.id]);
        assert!(!busy.is_held(key(&second)));
        assert!(busy.keys.is_empty());
    }

    #[test]
    fn a_message_that_another_process_has_claimed_is_forgotten() {
        let first = message("a", 1);
        let held_after = |claimed: &[Envelope], is_complete, now| {
            let mut busy = busy();
            busy.forget(claimed, is_complete, now);
            assert_eq!(busy.keys.is_empty(), busy.held.is_empty());
            busy.is_held(key(&first))
        };
        assert!(held_after(&[], true, at(4)));
        assert!(!held_after(&[], true, at(5)));
        assert!(held_after(&[], false, at(13)), "more can be claimed");
        assert!(!held_after(&[], false, at(14)));
        assert!(held_after(std::slice::from_ref(&first), true, at(14)));
    }

    #[test]
    fn the_number_of_remembered_messages_is_bounded() {
        let mut busy = Busy::default();
        for number in 0..2 * REMEMBERED_MAX as u128 {
            let message = message(&number.to_string(), number);
            busy.unconfirmed(key(&message), message.id, at(4));
        }
        assert_eq!(busy.keys.len(), REMEMBERED_MAX);
        assert!(busy.held.len() <= REMEMBERED_MAX);
    }
}
