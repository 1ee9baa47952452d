//! One queue in memory: a bounded window onto its rows, and the unacknowledged deliveries. No I/O.
//!
//! Rows are numbered in commit order. The window contains a run of the oldest rows. Once it is
//! full, later rows stay on disk only until consumers have made room and a page of them is read.

use std::collections::{BTreeMap, VecDeque};

use wingbeat_core::HashMap;
use wingbeat_core::transport::Delivery;

/// A row of the queue in its delivered form.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) row: u64,
    pub(crate) delivery: Delivery,
    pub(crate) bytes: usize,
}

/// A message that a consumer has not acknowledged.
#[derive(Debug)]
struct Unacked {
    message: Message,
    consumer: u64,
}

/// The window of one queue.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    ready: VecDeque<Message>,
    unacked: BTreeMap<u64, Unacked>,
    /// Number of unacknowledged deliveries by consumer.
    unacked_counts: HashMap<u64, usize>,
    /// Rows after this one are on disk only; `None` if all rows are in memory.
    on_disk_after: Option<u64>,
    /// The last committed row.
    last: u64,
    /// Number of rows, delivered or not.
    depth: u64,
    /// A page is being read.
    paging: bool,
    /// Size of the messages in memory.
    bytes: usize,
    /// Only one consumer at a time gets messages: the active one.
    ordered: bool,
    active: Option<u64>,
}

impl Queue {
    /// Creates the window of a queue that has `count` rows on disk. `last` is its last row, and
    /// `before_first` precedes all of them.
    pub(crate) fn recovered(count: u64, before_first: u64, last: u64) -> Self {
        Self {
            on_disk_after: (count > 0).then_some(before_first),
            last: last.max(before_first),
            depth: count,
            ..Self::default()
        }
    }

    /// Sets whether only one consumer at a time gets messages. Every queue delivers its rows in
    /// order.
    pub(crate) fn set_ordered(&mut self, ordered: bool) {
        self.ordered = ordered;
    }

    /// Returns the number of rows, delivered or not.
    pub(crate) fn depth(&self) -> u64 {
        self.depth
    }

    /// Returns the number of consumers that have asked for deliveries and were not removed.
    pub(crate) fn consumers(&self) -> usize {
        self.unacked_counts.len()
    }

    /// Returns the last committed row.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// Returns the number of messages in memory that can be delivered.
    pub(crate) fn ready(&self) -> usize {
        self.ready.len()
    }

    /// Returns the size of the messages in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a committed row. Keeps it in memory if there is room in the window and no earlier row
    /// is on disk only.
    pub(crate) fn push(&mut self, message: Message, has_room: bool) {
        self.depth += 1;
        self.last = message.row;
        if self.on_disk_after.is_some() || !has_room {
            self.on_disk_after.get_or_insert(message.row - 1);
            return;
        }
        self.bytes += message.bytes;
        self.ready.push_back(message);
    }

    /// Delivers messages to a consumer that may have `prefetch` unacknowledged deliveries.
    pub(crate) fn take(&mut self, consumer: u64, prefetch: usize) -> Vec<Delivery> {
        let unacked = self.unacked_counts.entry(consumer).or_default();
        if self.ordered && *self.active.get_or_insert(consumer) != consumer {
            return Vec::new();
        }
        let count = prefetch.saturating_sub(*unacked).min(self.ready.len());
        *unacked += count;
        let deliver = |message: Message| {
            let delivery = message.delivery.clone();
            self.unacked
                .insert(message.row, Unacked { message, consumer });
            delivery
        };
        self.ready.drain(..count).map(deliver).collect()
    }

    /// Starts reading a page if at most `low` messages are ready, more are on disk, and no page is
    /// being read. Returns the row after which the page begins, and the last row.
    pub(crate) fn start_page(&mut self, low: usize) -> Option<(u64, u64)> {
        let after = self
            .on_disk_after
            .filter(|_| !self.paging && self.ready.len() <= low)?;
        self.paging = true;
        Some((after, self.last))
    }

    /// Adds a page. `last` is what [`Queue::start_page`] returned as the last row. A full page may
    /// end before that row.
    pub(crate) fn add_page(&mut self, page: Vec<Message>, last: u64, is_full: bool) {
        self.paging = false;
        let end = page.last().map_or(0, |message| message.row);
        let end = if is_full { end } else { end.max(last) };
        self.on_disk_after = (end < self.last).then_some(end);
        self.bytes += page.iter().map(|message| message.bytes).sum::<usize>();
        self.ready.extend(page);
    }

    /// Ends a page that could not be read. The next consumer tries again.
    pub(crate) fn fail_page(&mut self) {
        self.paging = false;
    }

    /// Removes a row that a commit deleted.
    pub(crate) fn remove(&mut self, row: u64) {
        self.depth = self.depth.saturating_sub(1);
        if let Some(message) = self.release(row) {
            self.bytes -= message.bytes;
        } else if let Some(at) = self.ready.iter().position(|message| message.row == row) {
            // Requeued before the commit that settled it: it must not be delivered again.
            self.bytes -= self.ready.remove(at).map_or(0, |message| message.bytes);
        }
    }

    /// Returns whether a row is delivered and not acknowledged.
    pub(crate) fn is_unacked(&self, row: u64) -> bool {
        self.unacked.contains_key(&row)
    }

    /// Puts an unacknowledged delivery back in its place.
    pub(crate) fn requeue(&mut self, row: u64) {
        let Some(mut message) = self.release(row) else {
            return;
        };
        message.delivery.redelivered = true;
        let at = self.ready.partition_point(|other| other.row < message.row);
        self.ready.insert(at, message);
    }

    /// Removes a consumer and requeues its unacknowledged deliveries.
    pub(crate) fn remove_consumer(&mut self, consumer: u64) {
        let rows: Vec<u64> = self
            .unacked
            .iter()
            .filter(|(_, unacked)| unacked.consumer == consumer)
            .map(|(row, _)| *row)
            .collect();
        for row in rows {
            self.requeue(row);
        }
        self.unacked_counts.remove(&consumer);
        self.active.take_if(|active| *active == consumer);
    }

    fn release(&mut self, row: u64) -> Option<Message> {
        let unacked = self.unacked.remove(&row)?;
        if let Some(count) = self.unacked_counts.get_mut(&unacked.consumer) {
            *count = count.saturating_sub(1);
        }
        Some(unacked.message)
    }
}

/// Number of bits of a row's number within its queue. The bits above them are the queue's number,
/// so that one table contains all queues in order.
const ROW_BITS: u32 = 44;

/// Returns the row number that precedes all rows of a queue.
pub(crate) fn before_first(queue: u32) -> u64 {
    u64::from(queue) << ROW_BITS
}

/// Returns the queue of a row.
pub(crate) fn queue_of(row: u64) -> u32 {
    u32::try_from(row >> ROW_BITS).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use wingbeat_core::transport::{Broken, Fault, Tag, Undecodable};

    use super::*;

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
    fn rows_beyond_a_full_window_are_paged_from_disk_in_order() {
        let mut queue = Queue::default();
        for row in 1..=4 {
            queue.push(message(row), row <= 2);
        }
        assert_eq!((queue.depth(), queue.ready()), (4, 2));
        assert_eq!(rows(&queue.take(1, 10)), [1, 2]);
        let (from, up_to) = queue.start_page(1).expect("rows on disk");
        assert_eq!((from, up_to), (2, 4));
        assert_eq!(queue.start_page(1), None, "one page is read at a time");
        // Committed while the page is read: the page may not contain it.
        queue.push(message(5), true);
        queue.add_page(vec![message(3), message(4)], up_to, false);
        assert_eq!(rows(&queue.take(1, 10)), [3, 4]);
        let (from, up_to) = queue.start_page(1).expect("row 5 is on disk");
        assert_eq!((from, up_to), (4, 5));
        queue.add_page(vec![message(5)], up_to, false);
        queue.push(message(6), true);
        assert_eq!(rows(&queue.take(1, 10)), [5, 6]);
    }

    #[test]
    fn consumers_count_until_they_are_removed_also_those_that_wait_their_turn() {
        let mut queue = Queue::default();
        queue.set_ordered(true);
        assert_eq!(queue.consumers(), 0);
        queue.push(message(1), true);
        queue.take(1, 10);
        assert!(queue.take(2, 10).is_empty());
        assert_eq!(queue.consumers(), 2);
        queue.remove_consumer(1);
        queue.remove_consumer(2);
        assert_eq!(queue.consumers(), 0);
    }

    #[test]
    fn deliveries_of_a_removed_consumer_return_to_their_places() {
        let mut queue = Queue::default();
        for row in 1..=4 {
            queue.push(message(row), true);
        }
        assert_eq!(rows(&queue.take(1, 2)), [1, 2]);
        assert_eq!(rows(&queue.take(1, 2)), [0; 0], "the prefetch is used up");
        queue.remove(1);
        assert_eq!(rows(&queue.take(1, 2)), [3]);
        queue.remove_consumer(1);
        let again = queue.take(2, 10);
        assert_eq!(rows(&again), [2, 3, 4]);
        assert_eq!(
            again
                .iter()
                .map(|delivery| delivery.redelivered)
                .collect::<Vec<_>>(),
            [true, true, false]
        );
        queue.remove_consumer(2);
        queue.remove(3);
        assert_eq!(
            rows(&queue.take(3, 10)),
            [2, 4],
            "row 3 was settled while it was ready"
        );
        assert_eq!((queue.depth(), queue.bytes()), (2, 20));
    }
}
