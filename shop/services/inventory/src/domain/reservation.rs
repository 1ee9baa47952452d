//! The reservation of an order. It records its replies, so that a repeated command gets the
//! recorded one.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shop_contracts::{Lines, OrderId, Sku};
use wingbeat::{Entity, JsonSchema, Timestamp, schemars};

/// An order's reservation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Reservation {
    /// All lines are reserved.
    Held {
        /// The lines.
        lines: Lines,
        /// The time at which the reservation expires, unless it is committed, released or extended
        /// before.
        expires_at: Timestamp,
    },
    /// All lines have left the stock.
    Committed {
        /// The lines.
        lines: Lines,
    },
    /// The reservation was released or has expired.
    Released,
    /// The committed lines are back in stock.
    Restocked,
    /// A product was out of stock.
    Rejected {
        /// The product.
        sku: Sku,
    },
    /// A release or a commit came before the reservation. The late reservation is rejected.
    Tombstone,
}

/// The time after which a reservation is forgotten that nothing changes any more. An order is
/// shipped long before, and then neither released nor restocked; no command comes that late.
const KEPT: Duration = Duration::from_secs(90 * 24 * 3600);

impl Entity for Reservation {
    const NAME: &'static str = "reservation";
    type Id = OrderId;

    fn retention(&self) -> Option<Duration> {
        match self {
            Self::Held { .. } => None,
            _ => Some(KEPT),
        }
    }
}

/// The effect of a step on the stock of each line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Reserved units become available.
    Unhold,
    /// Reserved units leave the stock.
    TakeOut,
    /// Units that left the stock return.
    PutBack,
}

/// The next state of a reservation, and its effect on the stock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The next state.
    pub next: Reservation,
    /// The effect, and the lines it applies to.
    pub change: Option<(Change, Lines)>,
}

impl Step {
    fn stay(next: Reservation) -> Self {
        Self { next, change: None }
    }

    fn to(next: Reservation, change: Change, lines: Lines) -> Self {
        Self {
            next,
            change: Some((change, lines)),
        }
    }
}

impl Reservation {
    /// Gives back all units of the order, reserved or committed. Idempotent; leaves a tombstone if
    /// there is no reservation yet.
    #[must_use]
    pub fn give_back(current: Option<Self>) -> Step {
        match current {
            None => Step::stay(Self::Tombstone),
            Some(Self::Held { lines, .. }) => Step::to(Self::Released, Change::Unhold, lines),
            Some(Self::Committed { lines }) => Step::to(Self::Restocked, Change::PutBack, lines),
            Some(other) => Step::stay(other),
        }
    }

    /// Commits the reservation. The commit is refused unless the next state is
    /// [`Reservation::Committed`].
    #[must_use]
    pub fn commit(current: Option<Self>) -> Step {
        match current {
            None => Step::stay(Self::Tombstone),
            Some(Self::Held { lines, .. }) => Step::to(
                Self::Committed {
                    lines: lines.clone(),
                },
                Change::TakeOut,
                lines,
            ),
            Some(other) => Step::stay(other),
        }
    }

    /// Releases the reservation if it has expired; `None` if it has not.
    #[must_use]
    pub fn expire(current: Option<Self>, now: Timestamp) -> Option<Step> {
        match current {
            Some(Self::Held { expires_at, lines }) if expires_at <= now => {
                Some(Step::to(Self::Released, Change::Unhold, lines))
            }
            _ => None,
        }
    }

    /// Extends the reservation to `longer` from now; never shortens it. `None` if nothing is
    /// reserved.
    #[must_use]
    pub fn extend(current: Option<Self>, now: Timestamp, longer: Duration) -> Option<Self> {
        match current {
            Some(Self::Held { lines, expires_at }) => Some(Self::Held {
                lines,
                expires_at: expires_at.max(now + longer),
            }),
            _ => None,
        }
    }
}

/// Merges lines of one SKU and sorts by SKU, so that all orders change stock in one order.
#[must_use]
pub fn merged(lines: Lines) -> Lines {
    let mut merged = BTreeMap::<Sku, u32>::new();
    for (sku, quantity) in lines {
        let sum = merged.entry(sku).or_default();
        *sum = sum.saturating_add(quantity);
    }
    merged.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines() -> Lines {
        vec![("TEA-1".parse().unwrap(), 2)]
    }

    fn held() -> Option<Reservation> {
        Some(Reservation::Held {
            lines: lines(),
            expires_at: Timestamp::from_millis(1_000),
        })
    }

    #[test]
    fn a_release_before_the_reservation_leaves_a_tombstone() {
        let step = Reservation::give_back(None);
        assert_eq!(step, Step::stay(Reservation::Tombstone));
    }

    #[test]
    fn a_reservation_is_released_once() {
        let step = Reservation::give_back(held());
        assert_eq!(step.change, Some((Change::Unhold, lines())));
        let again = Reservation::give_back(Some(step.next));
        assert_eq!(again, Step::stay(Reservation::Released));
    }

    #[test]
    fn committed_units_are_put_back_once() {
        let taken = Reservation::commit(held());
        let step = Reservation::give_back(Some(taken.next));
        assert_eq!(step.change, Some((Change::PutBack, lines())));
        let again = Reservation::give_back(Some(step.next));
        assert_eq!(again, Step::stay(Reservation::Restocked));
    }

    #[test]
    fn a_commit_takes_out_once() {
        let step = Reservation::commit(held());
        assert_eq!(step.change, Some((Change::TakeOut, lines())));
        let again = Reservation::commit(Some(step.next));
        assert_eq!(again.change, None);
        assert_eq!(again.next, Reservation::Committed { lines: lines() });
    }

    #[test]
    fn a_reservation_that_was_released_cannot_be_committed() {
        let step = Reservation::commit(Some(Reservation::Released));
        assert_eq!(step, Step::stay(Reservation::Released));
    }

    #[test]
    fn a_reservation_expires_at_its_time() {
        let early = Timestamp::from_millis(999);
        assert_eq!(Reservation::expire(held(), early), None);
        let step = Reservation::expire(held(), Timestamp::from_millis(1_000)).unwrap();
        assert_eq!(step.next, Reservation::Released);
    }

    #[test]
    fn an_extension_never_shortens() {
        let now = Timestamp::from_millis(500);
        let shorter = Reservation::extend(held(), now, Duration::from_millis(1));
        assert_eq!(shorter, held());
        assert_eq!(
            Reservation::extend(Some(Reservation::Released), now, Duration::MAX),
            None
        );
    }

    #[test]
    fn lines_of_one_product_are_merged() {
        let twice = [lines(), lines()].concat();
        assert_eq!(merged(twice), vec![("TEA-1".parse().unwrap(), 4)]);
    }
}
