//! Partitions: a subscription that keeps the order of each key while several replicas work.
//!
//! The queue of the subscription has one active consumer, the [`Router`]. It moves each message to
//! one of n further queues, chosen by a hash of its key, and runs no handler. Each partition has
//! one active consumer, too, which handles its messages in order. The replicas share the partitions
//! ([`Shares`]).
//!
//! `docs/adr/0009-a-router-moves-messages-to-partitions.md` says why no order is lost while
//! replicas come and go and n changes.

mod router;
mod shares;
mod spread;

use sha2::{Digest as _, Sha256};
use wingbeat_core::{Envelope, Name};

use crate::unit::OwnTable;

pub(crate) use router::{Place, Router, Undone};
pub(crate) use shares::Shares;
pub(crate) use spread::stored;

/// The records of partitions, for the verification of what is stored.
pub(crate) const STORED: [OwnTable; 2] = [
    OwnTable::of::<spread::Spread>(spread::SPREADS),
    OwnTable::of::<shares::Member>(shares::MEMBERS),
];

/// The type of marks: a mark is settled after all messages before it in its partition.
pub(crate) const MARK: &str = "wingbeat.partition_mark";

/// Returns the name of a partition.
pub(crate) fn partition(of: Name, number: u32) -> Name {
    Name::intern(&format!("{of}.p{number}"))
}

/// Returns the partition of a message. Replicas of two releases agree, so the function must not
/// change. A message without a key may be in any partition.
fn number(message: &Envelope, count: u32) -> u32 {
    let digest = if message.key.is_empty() {
        Sha256::digest(message.id.0.as_bytes())
    } else {
        Sha256::digest(message.key.as_bytes())
    };
    let first = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    first % count.max(1)
}

#[cfg(test)]
mod tests {
    use wingbeat_core::{Kind, MessageId, Propagation, Timestamp};

    use super::*;

    fn message(id: u128, key: &str) -> Envelope {
        Envelope {
            id: MessageId(uuid::Uuid::from_u128(id)),
            source: "meters".into(),
            kind: "meters.read.v1".into(),
            role: Kind::Event,
            key: key.into(),
            time: Timestamp::default(),
            correlation: uuid::Uuid::nil().into(),
            causation: None,
            sequence: None,
            operation: None,
            traceparent: None,
            propagation: Propagation::default(),
            signature: None,
            dialog: None,
            body: bytes::Bytes::new(),
        }
    }

    /// Replicas of two releases must agree.
    #[test]
    fn the_partition_of_a_key_does_not_change() {
        let keys = ["a", "b", "c", "order-7", "order-8"];
        let numbers = keys.map(|key| number(&message(1, key), 8));
        assert_eq!(numbers, [2, 6, 3, 2, 2]);
    }

    #[test]
    fn messages_are_spread_with_and_without_keys() {
        for key in ["", "key"] {
            let mut counts = [0; 4];
            for id in 0..4_000 {
                let key = if key.is_empty() {
                    String::new()
                } else {
                    id.to_string()
                };
                counts[number(&message(id, &key), 4) as usize] += 1;
            }
            assert!(
                counts.iter().all(|it| (850..1_150).contains(it)),
                "{counts:?}"
            );
        }
    }
}
