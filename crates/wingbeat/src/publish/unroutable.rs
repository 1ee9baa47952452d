//! Messages that the broker did not take: which types, since when, and when they are tried again.
//!
//! That a message cannot be routed lies in its type, so that is what is remembered and not each
//! message: the types are few, and the messages are in the outbox.

use std::collections::BTreeMap;
use std::time::Duration;

use wingbeat_core::Timestamp;

/// The pause after a type was first found unroutable; it doubles.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause of an unroutable type: a queue for it is noticed by then.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// The pause after something was not confirmed, for whatever reason; it doubles while nothing is.
const UNCONFIRMED_MIN: Duration = Duration::from_millis(250);
/// The longest pause of something unconfirmed: the broker is back, and it goes on within that.
const UNCONFIRMED_MAX: Duration = Duration::from_secs(4);
/// What goes on being so is logged once in this time.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// A type of message that the broker cannot route: no queue is bound to it. Its messages are kept
/// in the outbox and tried again. An incident for a person, since most often somebody was never
/// deployed, or renamed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unroutable {
    /// The wire type.
    pub kind: String,
    /// Since when this process knows.
    pub since: Timestamp,
    /// How many messages of the type wait.
    pub waiting: u64,
}

#[derive(Debug)]
struct Trouble {
    since: Timestamp,
    pause: Duration,
    /// Tried again from then on; what is refused before then does not lengthen the pause.
    until: Timestamp,
    told_at: Timestamp,
}

/// What one process knows.
#[derive(Debug, Default)]
pub(crate) struct Unsent {
    unroutable: BTreeMap<String, Trouble>,
    /// Rounds in a row in which nothing was confirmed.
    failed: u32,
    /// What was last said about the unconfirmed, and when.
    told: Option<(String, Timestamp)>,
}

impl Unsent {
    /// No queue is bound to this type; how long its messages rest.
    pub(crate) fn unroutable(&mut self, kind: &str, now: Timestamp) -> Duration {
        let trouble = self.unroutable.entry(kind.to_owned()).or_insert_with(|| {
            tell(kind);
            metrics::gauge!("wingbeat_outbox_unroutable", "type" => kind.to_owned()).set(1.0);
            Trouble {
                since: now,
                pause: PAUSE_MIN,
                until: now + PAUSE_MIN,
                told_at: now,
            }
        });
        if now >= trouble.until {
            trouble.pause = (trouble.pause * 2).min(PAUSE_MAX);
            trouble.until = now + trouble.pause;
        }
        if now.since(trouble.told_at) >= TELL_AGAIN {
            trouble.told_at = now;
            tell(kind);
        }
        trouble.pause
    }

    /// A message of this type was confirmed.
    pub(crate) fn confirmed(&mut self, kind: &str) {
        self.failed = 0;
        self.told = None;
        if self.unroutable.remove(kind).is_some() {
            tracing::info!(kind, "messages of this type can be routed again");
            metrics::gauge!("wingbeat_outbox_unroutable", "type" => kind.to_owned()).set(0.0);
        }
    }

    /// So many of a round were not confirmed; how long they rest.
    pub(crate) fn unconfirmed(&mut self, count: usize, why: &str, now: Timestamp) -> Duration {
        let told = self.told.as_ref();
        if told.is_none_or(|(what, at)| what != why || now.since(*at) >= TELL_AGAIN) {
            tracing::warn!(count, "messages stay in the outbox: {why}");
            self.told = Some((why.to_owned(), now));
        }
        let pause = UNCONFIRMED_MIN * 2_u32.pow(self.failed.min(10));
        self.failed += 1;
        pause.min(UNCONFIRMED_MAX)
    }

    /// The types that cannot be routed, and since when.
    pub(crate) fn types(&self) -> Vec<(String, Timestamp)> {
        let known = self.unroutable.iter();
        known.map(|(kind, it)| (kind.clone(), it.since)).collect()
    }
}

fn tell(kind: &str) {
    tracing::error!(
        kind,
        "no queue takes messages of this type: they stay in the outbox"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(number: i64) -> Timestamp {
        Timestamp::from_millis(number * 1000)
    }

    #[test]
    fn a_type_rests_longer_and_longer_however_many_messages_it_has() {
        let mut unsent = Unsent::default();
        for _ in 0..1_000 {
            assert_eq!(unsent.unroutable("a", second(0)), PAUSE_MIN);
        }
        assert_eq!(unsent.unroutable("a", second(1)), PAUSE_MIN * 2);
        assert_eq!(unsent.unroutable("b", second(1)), PAUSE_MIN);
        for number in 2..1_000 {
            assert!(unsent.unroutable("a", second(number)) <= PAUSE_MAX);
        }
        assert_eq!(unsent.unroutable("a", second(1_000)), PAUSE_MAX);
        let known = [("a".to_owned(), second(0)), ("b".to_owned(), second(1))];
        assert_eq!(unsent.types(), known);
    }

    #[test]
    fn one_that_goes_through_ends_it() {
        let mut unsent = Unsent::default();
        unsent.unroutable("a", second(0));
        unsent.confirmed("b");
        assert_eq!(unsent.types().len(), 1);
        unsent.confirmed("a");
        assert_eq!(unsent.types(), []);
        assert_eq!(unsent.unroutable("a", second(9)), PAUSE_MIN);
    }

    #[test]
    fn the_unconfirmed_rest_longer_while_nothing_is_confirmed() {
        let mut unsent = Unsent::default();
        let pauses: Vec<_> = (0..6)
            .map(|_| unsent.unconfirmed(1, "away", second(0)))
            .collect();
        assert_eq!(pauses[0], UNCONFIRMED_MIN);
        assert_eq!(pauses[5], UNCONFIRMED_MAX);
        unsent.confirmed("a");
        assert_eq!(unsent.unconfirmed(1, "away", second(0)), UNCONFIRMED_MIN);
    }
}
