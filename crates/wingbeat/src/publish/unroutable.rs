//! Types of messages that the broker cannot route, and the pauses before messages are retried.
//!
//! Routing depends only on the type, so types are remembered, not messages: there are few of them,
//! and the messages are in the outbox.

use std::collections::BTreeMap;
use std::time::Duration;

use wingbeat_core::Timestamp;

/// The first pause of an unroutable type; it doubles.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause of an unroutable type. A new queue receives the messages after at most this
/// time.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// The first pause of unconfirmed messages; it doubles while nothing is confirmed.
const UNCONFIRMED_MIN: Duration = Duration::from_millis(250);
/// The longest pause of unconfirmed messages. After an outage of the broker they are published
/// after at most this time.
const UNCONFIRMED_MAX: Duration = Duration::from_secs(4);
/// The interval at which a persistent problem is logged again.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// A type of message that the broker cannot route, because no queue is bound to it. Its messages
/// stay in the outbox and are retried. It needs a person: usually a service was never deployed, or
/// a message was renamed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unroutable {
    /// The wire type.
    pub kind: String,
    /// The time at which this process noticed it.
    pub since: Timestamp,
    /// The number of waiting messages of the type.
    pub waiting: u64,
}

#[derive(Debug)]
struct Trouble {
    since: Timestamp,
    pause: Duration,
    /// The end of the pause. A refusal before it does not lengthen the pause.
    until: Timestamp,
    told_at: Timestamp,
}

/// The problems that this process knows.
#[derive(Debug, Default)]
pub(crate) struct Unsent {
    unroutable: BTreeMap<String, Trouble>,
    /// Consecutive rounds without a confirmed message.
    failed: u32,
    /// The last logged reason, and its time.
    told: Option<(String, Timestamp)>,
}

impl Unsent {
    /// Records that no queue is bound to this type. Returns the pause of its messages.
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

    /// Records that a message of this type was confirmed.
    pub(crate) fn confirmed(&mut self, kind: &str) {
        self.failed = 0;
        self.told = None;
        if self.unroutable.remove(kind).is_some() {
            tracing::info!(kind, "messages of this type can be routed again");
            metrics::gauge!("wingbeat_outbox_unroutable", "type" => kind.to_owned()).set(0.0);
        }
    }

    /// Records that `count` messages of a round were not confirmed. Returns their pause.
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

    /// Returns the types that cannot be routed, each with the time at which that was noticed.
    pub(crate) fn types(&self) -> Vec<(String, Timestamp)> {
        let known = self.unroutable.iter();
        known.map(|(kind, it)| (kind.clone(), it.since)).collect()
    }
}

fn tell(kind: &str) {
    tracing::error!(
        kind,
        "no queue is bound to this message type, its messages stay in the outbox: start the service that handles it, or remove the publisher"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(number: i64) -> Timestamp {
        Timestamp::from_millis(number * 1000)
    }

    #[test]
    fn the_pause_of_a_type_grows_independently_of_its_messages() {
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
    fn a_confirmed_message_makes_its_type_routable_again() {
        let mut unsent = Unsent::default();
        unsent.unroutable("a", second(0));
        unsent.confirmed("b");
        assert_eq!(unsent.types().len(), 1);
        unsent.confirmed("a");
        assert_eq!(unsent.types(), []);
        assert_eq!(unsent.unroutable("a", second(9)), PAUSE_MIN);
    }

    #[test]
    fn the_pause_of_unconfirmed_messages_grows_while_nothing_is_confirmed() {
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
