//! Identifiers: UUIDs of version 7, which sort by their creation time.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Timestamp;

/// Builds a version-7 UUID (RFC 9562, section 5.7).
///
/// It consists of the milliseconds since the epoch, the fraction of the millisecond in 12 bits
/// (section 6.2, method 3) and the lower 62 bits of `random`. Ids sort by `now` at a resolution of
/// one microsecond. Use [`RuntimeExt::id`](crate::RuntimeExt::id) where a runtime is at hand.
#[must_use]
pub fn uuid_v7(now: Timestamp, random: u64) -> Uuid {
    let micros = now.as_micros().max(0).unsigned_abs();
    let millis = u128::from(micros / 1_000) & 0xffff_ffff_ffff;
    let fraction = u128::from((micros % 1_000) * 4_096 / 1_000);
    let chance = u128::from(random) & 0x3fff_ffff_ffff_ffff;
    Uuid::from_u128((millis << 80) | (0x7 << 76) | (fraction << 64) | (0x2 << 62) | chance)
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
    /// Identifies one message of its source. A redelivery keeps the id; sending a command again
    /// does not.
    MessageId
}
id! {
    /// Identifies one unit of work. After an unknown commit the same unit is submitted with the
    /// same id.
    UnitId
}
id! {
    /// Identifies everything that one request or schedule caused.
    CorrelationId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_version_seven_and_sort_by_time() {
        let early = uuid_v7(Timestamp::from_micros(1_000_000), u64::MAX);
        let late = uuid_v7(Timestamp::from_micros(1_000_001), 0);
        assert_eq!((early.get_version_num(), late.get_version_num()), (7, 7));
        assert_eq!(early.get_variant(), uuid::Variant::RFC4122);
        assert!(early < late);
    }
}
