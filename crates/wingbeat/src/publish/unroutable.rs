//! Message types that the broker cannot route, and the pauses before messages are retried.
//!
//! Routing depends only on the type. So this module keeps types, which are few, and not messages,
//! which are in the outbox.

use std::collections::BTreeMap;
use std::time::Duration;

use wingbeat_core::Timestamp;

/// The first pause of an unroutable type; it doubles.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause of an unroutable type: a new queue receives the messages within this time.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// The first pause of unconfirmed messages; it doubles while nothing is confirmed.
const UNCONFIRMED_MIN: Duration = Duration::from_millis(250);
/// The longest pause of unconfirmed messages: after an outage of the broker they are published
/// within this time.
const UNCONFIRMED_MAX: Duration = Duration::from_secs(4);
/// The interval at which a persistent problem is logged again.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// A message type that the broker cannot route, because no queue is bound to it.
///
/// Its messages stay in the outbox, and the relay retries them. Usually an operator must act: a
/// service was never deployed, or a message was renamed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unroutable {
    /// The wire type.
    pub kind: String,
    /// The time of the first refusal in this process.
    pub since: Timestamp,
    /// The number of waiting messages of the type.
    pub waiting: u64,
}

/// The state of an unroutable type.
#[derive(Debug)]
struct Backoff {
    since: Timestamp,
    pause: Duration,
    /// The end of the pause. A refusal before it does not lengthen the pause.
    until: Timestamp,
    logged_at: Timestamp,
}

/// The messages that this process could not publish.
#[derive(Debug, Default)]
pub(crate) struct Unsent {
    unroutable: BTreeMap<String, Backoff>,
    /// Consecutive rounds without a confirmed message.
    failed: u32,
    /// The last logged reason, and its time.
    logged: Option<(String, Timestamp)>,
}

impl Unsent {
    /// Records that no queue is bound to this type. Returns the pause of its messages.
    pub(crate) fn unroutable(&mut self, kind: &str, now: Timestamp) -> Duration {
        let backoff = self.unroutable.entry(kind.to_owned()).or_insert_with(|| {
            log_unroutable(kind);
            metrics::gauge!("wingbeat_outbox_unroutable", "type" => kind.to_owned()).set(1.0);
            Backoff {
                since: now,
                pause: PAUSE_MIN,
                until: now + PAUSE_MIN,
                logged_at: now,
            }
        });
        if now >= backoff.until {
            backoff.pause = (backoff.pause * 2).min(PAUSE_MAX);
            backoff.until = now + backoff.pause;
        }
        if now.since(backoff.logged_at) >= LOG_INTERVAL {
            backoff.logged_at = now;
            log_unroutable(kind);
        }
        backoff.pause
    }

    /// Records that a message of this type was confirmed.
    pub(crate) fn confirmed(&mut self, kind: &str) {
        self.failed = 0;
        self.logged = None;
        if self.unroutable.remove(kind).is_some() {
            tracing::info!(kind, "messages of this type can be routed again");
            metrics::gauge!("wingbeat_outbox_unroutable", "type" => kind.to_owned()).set(0.0);
        }
    }

    /// Records that `count` messages of a round were not confirmed. Returns their pause.
    pub(crate) fn unconfirmed(&mut self, count: usize, why: &str, now: Timestamp) -> Duration {
        let logged = self.logged.as_ref();
        if logged.is_none_or(|(reason, at)| reason != why || now.since(*at) >= LOG_INTERVAL) {
            tracing::warn!(count, "messages stay in the outbox: {why}");
            self.logged = Some((why.to_owned(), now));
        }
        let pause = UNCONFIRMED_MIN * 2_u32.pow(self.failed.min(10));
        self.failed += 1;
        pause.min(UNCONFIRMED_MAX)
    }

    /// Returns the unroutable types, each with the time of its first refusal.
    pub(crate) fn types(&self) -> Vec<(String, Timestamp)> {
        let known = self.unroutable.iter();
        known.map(|(kind, it)| (kind.clone(), it.since)).collect()
    }
}

fn log_unroutable(kind: &str) {
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
            .map(|_| unsent.unconfirmed(1, "unavailable", second(0)))
            .collect();
        assert_eq!(pauses[0], UNCONFIRMED_MIN);
        assert_eq!(pauses[5], UNCONFIRMED_MAX);
        unsent.confirmed("a");
        assert_eq!(
            unsent.unconfirmed(1, "unavailable", second(0)),
            UNCONFIRMED_MIN
        );
    }
}
