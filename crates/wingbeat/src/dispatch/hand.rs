//! The deliveries that were taken and are not yet settled: how many, and since when the oldest waits.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use wingbeat_core::Timestamp;

use super::Stats;

/// When each of them was sent. The broker does not tell the age of what it keeps, but hands out the oldest
/// first: the oldest in hand, of all replicas, is the oldest there is.
#[derive(Debug, Default)]
pub(super) struct Hand {
    sent: BTreeMap<Timestamp, u32>,
    count: u64,
}

impl Hand {
    pub(super) fn add(&mut self, sent: Timestamp) {
        *self.sent.entry(sent).or_default() += 1;
        self.count += 1;
    }

    pub(super) fn remove(&mut self, sent: Timestamp) {
        if let Some(count) = self.sent.get_mut(&sent) {
            *count -= 1;
            if *count == 0 {
                self.sent.remove(&sent);
            }
            self.count -= 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Writes it down for whoever looks.
    pub(super) fn tell(&self, stats: &Stats) {
        let oldest = self.sent.first_key_value();
        let oldest = oldest.map_or(0, |(sent, _)| sent.as_micros());
        stats.in_flight.store(self.count, Ordering::Relaxed);
        stats.oldest.store(oldest, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(hand: &Hand) -> (u64, i64) {
        let stats = Stats::default();
        hand.tell(&stats);
        let oldest = stats.oldest.load(Ordering::Relaxed);
        (stats.in_flight.load(Ordering::Relaxed), oldest)
    }

    #[test]
    fn the_oldest_is_told_until_it_is_settled() {
        let at = Timestamp::from_micros;
        let mut hand = Hand::default();
        assert_eq!(told(&hand), (0, 0));
        for sent in [30, 10, 20, 10] {
            hand.add(at(sent));
        }
        assert_eq!(told(&hand), (4, 10));
        hand.remove(at(10));
        assert_eq!(told(&hand), (3, 10), "there were two of that age");
        hand.remove(at(30));
        hand.remove(at(10));
        assert_eq!(told(&hand), (1, 20));
        hand.remove(at(20));
        assert!(hand.is_empty());
        assert_eq!(told(&hand), (0, 0));
    }
}
