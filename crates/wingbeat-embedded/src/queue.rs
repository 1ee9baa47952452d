//! One queue in memory: a bounded window onto its rows, and who holds what. No I/O.
//!
//! Rows are numbered in the order of the commits. The window holds a run of the oldest; once it is full
//! the rest stays on disk (`beyond`) until consumers have made room and a page is read.

use std::collections::{BTreeMap, VecDeque};

use wingbeat_core::HashMap;
use wingbeat_core::transport::{Delivery, Tag};

/// A row of the queue, as it is handed out.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) row: u64,
    pub(crate) delivery: Delivery,
    pub(crate) bytes: usize,
}

#[derive(Debug)]
struct Handed {
    message: Message,
    consumer: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Queue {
    ready: VecDeque<Message>,
    handed: BTreeMap<u64, Handed>,
    /// Deliveries each consumer holds.
    outstanding: HashMap<u64, usize>,
    /// Rows after this one are on disk only; `None` when all are in memory.
    beyond: Option<u64>,
    /// The last row that was committed.
    last: u64,
    /// Rows there are, handed out or not.
    depth: u64,
    paging: bool,
    bytes: usize,
    /// Handed out to one consumer at a time: to this one.
    ordered: bool,
    active: Option<u64>,
}

impl Queue {
    /// A queue as it was found on disk: `count` rows, the last of them `last`; `first` is before all.
    pub(crate) fn found(count: u64, first: u64, last: u64) -> Self {
        Self {
            beyond: (count > 0).then_some(first),
            last: last.max(first),
            depth: count,
            ..Self::default()
        }
    }

    /// Whether one consumer at a time is handed messages. They come in the order of their rows in any case.
    pub(crate) fn set_ordered(&mut self, ordered: bool) {
        self.ordered = ordered;
    }

    pub(crate) fn depth(&self) -> u64 {
        self.depth
    }

    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// A committed row. `room` says whether the window may grow. Whether it stays in memory.
    pub(crate) fn committed(&mut self, message: Message, room: bool) -> bool {
        self.depth += 1;
        self.last = message.row;
        if self.beyond.is_some() || !room {
            self.beyond.get_or_insert(message.row - 1);
            return false;
        }
        self.bytes += message.bytes;
        self.ready.push_back(message);
        true
    }

    /// Messages in memory that nobody holds.
    pub(crate) fn waiting(&self) -> usize {
        self.ready.len()
    }

    /// Bytes of the messages in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Hands messages to a consumer that may hold `prefetch`.
    pub(crate) fn take(&mut self, consumer: u64, prefetch: usize) -> Vec<Delivery> {
        if self.ordered && *self.active.get_or_insert(consumer) != consumer {
            return Vec::new();
        }
        let held = self.outstanding.entry(consumer).or_default();
        let count = prefetch.saturating_sub(*held).min(self.ready.len());
        *held += count;
        let taken = self.ready.drain(..count);
        let hand = |message: Message| {
            let delivery = message.delivery.clone();
            self.handed
                .insert(message.row, Handed { message, consumer });
            delivery
        };
        taken.map(hand).collect()
    }

    /// From where a page should be read, if the window runs low and nobody reads one already.
    pub(crate) fn wants_page(&mut self, low: usize) -> Option<(u64, u64)> {
        let from = self
            .beyond
            .filter(|_| !self.paging && self.ready.len() <= low)?;
        self.paging = true;
        Some((from, self.last))
    }

    /// A page read from disk: rows after `from`; `up_to` was the last row when reading began, `full` says
    /// that there may be more before it.
    pub(crate) fn paged(&mut self, page: Vec<Message>, up_to: u64, full: bool) {
        self.paging = false;
        let reached = page.last().map_or(0, |message| message.row);
        let reached = if full { reached } else { reached.max(up_to) };
        self.beyond = (reached < self.last).then_some(reached);
        self.bytes += page.iter().map(|message| message.bytes).sum::<usize>();
        self.ready.extend(page);
    }

    /// Reading failed: someone else may try.
    pub(crate) fn not_paged(&mut self) {
        self.paging = false;
    }

    /// A row was deleted by a commit.
    pub(crate) fn settled(&mut self, row: u64) {
        self.depth = self.depth.saturating_sub(1);
        if let Some(handed) = self.release(row) {
            self.bytes -= handed.bytes;
        } else if let Some(at) = self.ready.iter().position(|message| message.row == row) {
            // Given back in the meantime: it must not be handed out again.
            self.bytes -= self.ready.remove(at).map_or(0, |message| message.bytes);
        }
    }

    /// Whether a delivery is still held; an acknowledgement without a commit deletes it.
    pub(crate) fn holds(&self, row: u64) -> bool {
        self.handed.contains_key(&row)
    }

    /// Puts a held delivery back to the front.
    pub(crate) fn give_back(&mut self, row: u64) {
        let Some(mut message) = self.release(row) else {
            return;
        };
        message.delivery.redelivered = true;
        let at = self.ready.partition_point(|other| other.row < message.row);
        self.ready.insert(at, message);
    }

    /// A consumer is gone: what it held waits again.
    pub(crate) fn leave(&mut self, consumer: u64) {
        let held: Vec<u64> = self
            .handed
            .iter()
            .filter(|(_, handed)| handed.consumer == consumer)
            .map(|(row, _)| *row)
            .collect();
        for row in held {
            self.give_back(row);
        }
        self.outstanding.remove(&consumer);
        self.active.take_if(|active| *active == consumer);
    }

    fn release(&mut self, row: u64) -> Option<Message> {
        let handed = self.handed.remove(&row)?;
        if let Some(held) = self.outstanding.get_mut(&handed.consumer) {
            *held = held.saturating_sub(1);
        }
        Some(handed.message)
    }
}

/// The queue's number lies above the number within the queue, so one table holds all queues in order.
pub(crate) const ROW_BITS: u32 = 44;

/// The row before the first of a queue.
pub(crate) fn before_first(queue: u32) -> u64 {
    u64::from(queue) << ROW_BITS
}

/// The queue of a row, and so of a delivery: its tag is the row.
pub(crate) fn queue_of(tag: Tag) -> u32 {
    u32::try_from(tag.0 >> ROW_BITS).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use wingbeat_core::transport::{Broken, Fault, Undecodable};

    fn message(row: u64) -> Message {
        let envelope = Err(Undecodable {
            id: uuid::Uuid::from_u128(row.into()).into(),
            kind: String::new(),
            broken: Broken {
                fault: Fault::Undecodable,
                why: String::new(),
                headers: std::collections::BTreeMap::default(),
            },
            raw: bytes::Bytes::new(),
        });
        let delivery = Delivery {
            tag: Tag(row),
            redelivered: false,
            envelope,
            dead_lettered: None,
        };
        Message {
            row,
            delivery,
            bytes: 10,
        }
    }

    fn rows(deliveries: &[Delivery]) -> Vec<u64> {
        deliveries.iter().map(|delivery| delivery.tag.0).collect()
    }

    #[test]
    fn beyond_a_full_window_rows_wait_on_disk_and_come_in_order() {
        let mut queue = Queue::default();
        for row in 1..=4 {
            queue.committed(message(row), row <= 2);
        }
        assert_eq!((queue.depth(), queue.waiting()), (4, 2));
        assert_eq!(rows(&queue.take(1, 10)), [1, 2]);
        let (from, up_to) = queue.wants_page(1).expect("rows on disk");
        assert_eq!((from, up_to), (2, 4));
        assert_eq!(queue.wants_page(1), None, "one reads at a time");
        // Committed while the page is read: the page may not have it.
        queue.committed(message(5), true);
        queue.paged(vec![message(3), message(4)], up_to, false);
        assert_eq!(rows(&queue.take(1, 10)), [3, 4]);
        let (from, up_to) = queue.wants_page(1).expect("row 5 is on disk");
        assert_eq!((from, up_to), (4, 5));
        queue.paged(vec![message(5)], up_to, false);
        queue.committed(message(6), true);
        assert_eq!(rows(&queue.take(1, 10)), [5, 6]);
    }

    #[test]
    fn what_a_consumer_held_waits_again_in_its_old_place() {
        let mut queue = Queue::default();
        for row in 1..=4 {
            queue.committed(message(row), true);
        }
        assert_eq!(rows(&queue.take(1, 2)), [1, 2]);
        assert_eq!(rows(&queue.take(1, 2)), [0; 0], "no more than the prefetch");
        queue.settled(1);
        assert_eq!(rows(&queue.take(1, 2)), [3]);
        queue.leave(1);
        let again = queue.take(2, 10);
        assert_eq!(rows(&again), [2, 3, 4]);
        assert_eq!(
            again.iter().map(|it| it.redelivered).collect::<Vec<_>>(),
            [true, true, false]
        );
        queue.leave(2);
        queue.settled(3);
        assert_eq!(rows(&queue.take(3, 10)), [2, 4], "settled while it waited");
        assert_eq!((queue.depth(), queue.bytes()), (2, 20));
    }
}
