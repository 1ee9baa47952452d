//! Passes committed messages from the committer to the relay in memory, so that the relay need not
//! read them from the outbox. The commit also stores and claims them in the outbox: nothing is lost
//! if this process dies.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use wingbeat_core::{Envelope, HashSet, MessageId};

use super::busy::{Busy, key};

/// The time for which committed messages stay claimed. If this process dies, other processes may
/// publish them after it.
pub(crate) const LEASE: Duration = Duration::from_secs(5);
/// The maximum age of a message in memory. The rest of its lease is for the broker's confirm.
const AGE_MAX: Duration = Duration::from_secs(3);
/// The longest time between the begin of a commit and its end, after which the lease begins.
const COMMIT_MAX: Duration = Duration::from_millis(500);
/// The number of messages from which on commits leave theirs in the outbox.
const MESSAGES_MAX: usize = 4_096;
/// The sum of their body sizes in bytes.
const BYTES_MAX: usize = 16 << 20;

#[derive(Default)]
pub(crate) struct Handover {
    inner: Mutex<Inner>,
    given: Notify,
}

#[derive(Default)]
struct Inner {
    /// Messages of one commit, with the time before it began.
    batches: VecDeque<(Duration, Vec<Envelope>)>,
    count: usize,
    bytes: usize,
}

/// Messages that were taken from the handover.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Taken {
    /// The messages to publish.
    pub(crate) messages: Vec<Envelope>,
    /// Messages that stay in the outbox, and the pauses until they can be claimed.
    pub(crate) left: Vec<(MessageId, Duration)>,
}

impl Handover {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the messages of the next commit fit.
    pub(crate) fn has_room(&self) -> bool {
        let inner = self.lock();
        inner.count < MESSAGES_MAX && inner.bytes < BYTES_MAX
    }

    /// Adds the messages of a commit; `began` is the time before it.
    pub(crate) fn give(&self, began: Duration, messages: Vec<Envelope>) {
        if messages.is_empty() {
            return;
        }
        let mut inner = self.lock();
        inner.count += messages.len();
        inner.bytes += bytes(&messages);
        inner.batches.push_back((began, messages));
        drop(inner);
        self.given.notify_one();
    }

    /// Takes about `limit` messages, oldest first. A message waits while its key is being published
    /// or an earlier message with the key waits. Drops messages that are too old, and those whose
    /// key is held: the relay finds them in the outbox.
    pub(crate) fn take(&self, now: Duration, limit: usize, busy: &mut Busy) -> Taken {
        let mut inner = self.lock();
        let mut taken = Taken::default();
        let mut staying = VecDeque::new();
        let mut held: HashSet<u64> = HashSet::default();
        while taken.messages.len() < limit
            && let Some((began, messages)) = inner.batches.pop_front()
        {
            inner.count -= messages.len();
            inner.bytes -= bytes(&messages);
            let is_old = now.saturating_sub(began) >= AGE_MAX;
            let mut stay = Vec::new();
            for message in messages {
                let key = key(&message);
                if is_old {
                    busy.leave(key, message.id, began + COMMIT_MAX + LEASE);
                } else if busy.is_held(key) {
                    let free_at = busy.leave(key, message.id, now);
                    taken.left.push((message.id, free_at.saturating_sub(now)));
                } else if busy.is_publishing(key) || held.contains(&key) {
                    held.insert(key);
                    stay.push(message);
                } else {
                    taken.messages.push(message);
                }
            }
            if !stay.is_empty() {
                inner.count += stay.len();
                inner.bytes += bytes(&stay);
                staying.push_back((began, stay));
            }
        }
        while let Some(stay) = staying.pop_back() {
            inner.batches.push_front(stay);
        }
        taken
    }

    /// Removes all messages, of which nobody will take another one, and returns their ids.
    pub(crate) fn clear(&self) -> Vec<MessageId> {
        let batches = std::mem::take(&mut *self.lock()).batches;
        let messages = batches.into_iter().flat_map(|(_, messages)| messages);
        messages.map(|message| message.id).collect()
    }

    /// Resolves after messages were added.
    pub(crate) async fn given(&self) {
        self.given.notified().await;
    }
}

fn bytes(messages: &[Envelope]) -> usize {
    messages.iter().map(|message| message.body.len()).sum()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use wingbeat_core::{Kind, Timestamp};

    use super::*;

    fn message(number: u128) -> Envelope {
        let id = uuid::Uuid::from_u128(number);
        Envelope {
            id: id.into(),
            source: "s".into(),
            kind: "k.v1".into(),
            role: Kind::Event,
            key: "k".into(),
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

    fn take(handover: &Handover, now: Duration, limit: usize, busy: &mut Busy) -> Vec<Envelope> {
        handover.take(now, limit, busy).messages
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn messages_are_taken_once_and_in_order() {
        let handover = Handover::default();
        handover.give(at(0), vec![message(1), message(2)]);
        handover.give(at(0), vec![message(3)]);
        let busy = &mut Busy::default();
        assert_eq!(take(&handover, at(1), 2, busy), [message(1), message(2)]);
        assert_eq!(take(&handover, at(1), 2, busy), [message(3)]);
        assert_eq!(take(&handover, at(1), 2, busy), []);
    }

    fn of(key: &str, number: u128) -> Envelope {
        Envelope {
            key: key.into(),
            ..message(number)
        }
    }

    #[test]
    fn messages_of_one_key_are_in_one_batch_at_a_time() {
        let handover = Handover::default();
        let (a, b) = (|number| of("a", number), |number| of("b", number));
        handover.give(at(0), vec![a(1)]);
        let mut busy = Busy::default();
        let first = take(&handover, at(0), 10, &mut busy);
        assert_eq!(first, [a(1)]);
        let keys = busy.begin(&first);
        handover.give(at(0), vec![a(2), b(3)]);
        handover.give(at(0), vec![b(4), a(5)]);
        assert_eq!(take(&handover, at(0), 10, &mut busy), [b(3), b(4)]);
        busy.done(&keys);
        assert_eq!(take(&handover, at(0), 1, &mut busy), [a(2)]);
        assert_eq!(take(&handover, at(0), 1, &mut busy), [a(5)]);
        assert_eq!(handover.lock().count, 0);
    }

    #[test]
    fn old_messages_are_left_to_the_outbox() {
        let handover = Handover::default();
        handover.give(at(0), vec![message(1)]);
        handover.give(at(2), vec![message(2)]);
        let taken = handover.take(AGE_MAX, 10, &mut Busy::default());
        assert_eq!(taken.messages, []);
        assert_eq!(taken.left[0].0, message(2).id, "it must not overtake");
    }

    #[test]
    fn the_number_and_size_of_messages_is_bounded() {
        let handover = Handover::default();
        assert!(handover.has_room());
        handover.give(at(0), (0..MESSAGES_MAX as u128).map(message).collect());
        assert!(!handover.has_room());
        take(&handover, at(0), 1, &mut Busy::default());
        assert!(handover.has_room());
        let large = Envelope {
            body: vec![0; BYTES_MAX].into(),
            ..message(1)
        };
        handover.give(at(0), vec![large]);
        assert!(!handover.has_room());
        take(&handover, at(0), 1, &mut Busy::default());
        assert!(handover.has_room());
    }
}
