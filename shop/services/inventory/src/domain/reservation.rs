//! What one order holds. It remembers its answers, so that a repeated command gets the same one.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use shop_contracts::{Lines, OrderId, Sku};
use wingbeat::{Entity, Timestamp};

/// An order's reservation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum Reservation {
    /// All lines are held.
    Held {
        /// What.
        lines: Lines,
        /// Until when, unless committed, released or extended before.
        expires_at: Timestamp,
    },
    /// All lines were taken out.
    Committed {
        /// What.
        lines: Lines,
    },
    /// What was held is free again: released or expired.
    Released,
    /// What was taken out is back.
    Restocked,
    /// There was not enough.
    Rejected {
        /// Of this.
        sku: Sku,
    },
    /// The release or the commit came first: a reservation that comes later is refused.
    Tombstone,
}

impl Entity for Reservation {
    const NAME: &'static str = "reservation";
    type Id = OrderId;
}

/// What a step does to the stock of each line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Held is free again.
    Unhold,
    /// Held is taken out.
    TakeOut,
    /// Taken out is put back.
    PutBack,
}

/// A reservation's next state, and what it does to which stock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The reservation from now on.
    pub next: Reservation,
    /// The change, and the lines it concerns.
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
    /// Gives back whatever the order has, held or taken out; safe to repeat, and before the order
    /// has anything it leaves a tombstone.
    #[must_use]
    pub fn give_back(current: Option<Self>) -> Step {
        match current {
            None => Step::stay(Self::Tombstone),
            Some(Self::Held { lines, .. }) => Step::to(Self::Released, Change::Unhold, lines),
            Some(Self::Committed { lines }) => Step::to(Self::Restocked, Change::PutBack, lines),
            Some(other) => Step::stay(other),
        }
    }

    /// Takes out what is held. The next state is [`Reservation::Committed`], or else it is refused.
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

    /// Gives back what is held too long; `None` when it is not.
    #[must_use]
    pub fn expire(current: Option<Self>, now: Timestamp) -> Option<Step> {
        match current {
            Some(Self::Held { expires_at, lines }) if expires_at <= now => {
                Some(Step::to(Self::Released, Change::Unhold, lines))
            }
            _ => None,
        }
    }

    /// Holds for `longer` from now on, never for less than before; `None` when nothing is held.
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

/// Each SKU once, in order, so that stock is always changed in the same order.
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
    fn a_release_that_comes_first_leaves_a_tombstone() {
        let step = Reservation::give_back(None);
        assert_eq!(step, Step::stay(Reservation::Tombstone));
    }

    #[test]
    fn what_is_held_is_given_back_once() {
        let step = Reservation::give_back(held());
        assert_eq!(step.change, Some((Change::Unhold, lines())));
        let again = Reservation::give_back(Some(step.next));
        assert_eq!(again, Step::stay(Reservation::Released));
    }

    #[test]
    fn what_was_taken_out_is_put_back_once() {
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
    fn a_reservation_expires_at_its_time_and_not_before() {
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
    fn lines_of_the_same_product_count_together() {
        let twice = [lines(), lines()].concat();
        assert_eq!(merged(twice), vec![("TEA-1".parse().unwrap(), 4)]);
    }
}
