//! The deliveries that are being handled.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use wingbeat_core::Timestamp;

use super::work::Stats;

/// The times at which the deliveries in flight were sent. Brokers do not report the age of their
/// messages, but deliver the oldest first. So the oldest delivery in flight, over all replicas, is
/// the oldest message of the queue.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    sent: BTreeMap<Timestamp, u32>,
    count: u64,
}

impl InFlight {
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

    pub(super) fn len(&self) -> u64 {
        self.count
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Publishes the count and the oldest time to the live figures.
    pub(super) fn publish(&self, stats: &Stats) {
        let oldest = self.sent.first_key_value();
        let oldest = oldest.map_or(0, |(sent, _)| sent.as_micros());
        stats.in_flight.store(self.count, Ordering::Relaxed);
        stats.oldest.store(oldest, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(in_flight: &InFlight) -> (u64, i64) {
        let stats = Stats::default();
        in_flight.publish(&stats);
        let oldest = stats.oldest.load(Ordering::Relaxed);
        (stats.in_flight.load(Ordering::Relaxed), oldest)
    }

    #[test]
    fn the_oldest_delivery_counts_until_it_is_settled() {
        let at = Timestamp::from_micros;
        let mut in_flight = InFlight::default();
        assert_eq!(published(&in_flight), (0, 0));
        for sent in [30, 10, 20, 10] {
            in_flight.add(at(sent));
        }
        assert_eq!(published(&in_flight), (4, 10));
        in_flight.remove(at(10));
        assert_eq!(
            published(&in_flight),
            (3, 10),
            "another delivery has that time"
        );
        in_flight.remove(at(30));
        in_flight.remove(at(10));
        assert_eq!(published(&in_flight), (1, 20));
        in_flight.remove(at(20));
        assert!(in_flight.is_empty());
        assert_eq!(published(&in_flight), (0, 0));
    }
}
