//! Identifiers: UUIDs of version 7, which sort by the time they were made.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Timestamp;

/// Builds a version-7 UUID from a time and 74 random bits (RFC 9562, section 5.7).
#[must_use]
pub fn uuid_v7(now: Timestamp, random: u128) -> Uuid {
    let millis = u128::from(now.as_millis().max(0).unsigned_abs()) & 0xffff_ffff_ffff;
    let low = random & 0x0fff_3fff_ffff_ffff_ffff;
    Uuid::from_u128((millis << 80) | (0x7 << 76) | (0x8 << 60) | (low & !(0xf << 76) & !(0xc << 60)))
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }
    };
}

id! {
    /// Identifies one message. With its source it is unique; redelivery keeps it, a resend does not.
    MessageId
}
id! {
    /// Identifies one unit of work, so that it may be submitted again after an unknown commit.
    UnitId
}
id! {
    /// Shared by all that was caused by one root request.
    CorrelationId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_version_seven_and_sort_by_time() {
        let early = uuid_v7(Timestamp::from_millis(1_000), u128::MAX);
        let late = uuid_v7(Timestamp::from_millis(1_001), 0);
        assert_eq!((early.get_version_num(), late.get_version_num()), (7, 7));
        assert_eq!(early.get_variant(), uuid::Variant::RFC4122);
        assert!(early < late);
    }
}
