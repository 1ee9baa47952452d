//! What an admin's lists hold, and how what several replicas of a service say is one.

use serde::{Deserialize, Serialize};
use wingbeat::{JsonSchema, Name, Timestamp, schemars};

/// A list as it is answered.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "{T}List")]
pub struct Items<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Services that did not answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub away: Vec<String>,
}

impl<T> From<Vec<T>> for Items<T> {
    fn from(items: Vec<T>) -> Self {
        let away = Vec::new();
        Self { items, away }
    }
}

/// What each replica knows of the same thing.
pub(crate) trait Replicated {
    /// Whether it is the same thing.
    fn is(&self, other: &Self) -> bool;
    /// What both know.
    fn join(&mut self, other: Self);
}

/// The lists of the replicas of one service as one.
pub(crate) fn joined<T: Replicated>(lists: impl IntoIterator<Item = Vec<T>>) -> Vec<T> {
    let mut all: Vec<T> = Vec::new();
    for one in lists.into_iter().flatten() {
        match all.iter_mut().find(|it| it.is(&one)) {
            Some(known) => known.join(one),
            None => all.push(one),
        }
    }
    all
}

/// How a subscription does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Subscription {
    /// Whose it is.
    pub service: Name,
    /// Its name in that service.
    pub name: String,
    /// Whether it is handed anything.
    pub state: State,
    /// Deliveries in its queue, and parked ones.
    pub waiting: u64,
    /// Deliveries being handled.
    pub in_flight: u64,
    /// Deliveries handled for good, since ever.
    pub handled: i64,
    /// Attempts that failed and were tried again, since the start.
    pub retried: u64,
    /// Deliveries given up, since ever; retried ones are taken off.
    pub dead: i64,
}

/// Whether a subscription is handed anything: `paused` when no replica is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "SubscriptionState")]
pub enum State {
    /// It is.
    Running,
    /// It is not.
    Paused,
}

impl Replicated for Subscription {
    fn is(&self, other: &Self) -> bool {
        (self.service, &self.name) == (other.service, &other.name)
    }

    /// Queue and counters are shared; what is in hand and what has failed is each one's own.
    fn join(&mut self, other: Self) {
        let all = (self.waiting + self.in_flight).max(other.waiting + other.in_flight);
        self.in_flight += other.in_flight;
        self.waiting = all.saturating_sub(self.in_flight);
        self.retried += other.retried;
        self.handled = self.handled.max(other.handled);
        self.dead = self.dead.max(other.dead);
        if other.state == State::Running {
            self.state = State::Running;
        }
    }
}

/// A circuit breaker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Breaker {
    /// Whose it is.
    pub service: Name,
    /// What it guards.
    pub name: String,
    /// `closed`, `half_open` or `open`: of several replicas' the least closed.
    #[schemars(extend("enum" = ["closed", "half_open", "open"]))]
    pub state: String,
    /// Since when.
    pub since: Timestamp,
}

impl Breaker {
    fn openness(&self) -> u8 {
        match self.state.as_str() {
            "closed" => 0,
            "half_open" => 1,
            _ => 2,
        }
    }
}

impl Replicated for Breaker {
    fn is(&self, other: &Self) -> bool {
        (self.service, &self.name) == (other.service, &other.name)
    }

    fn join(&mut self, other: Self) {
        if other.openness() > self.openness() {
            *self = other;
        }
    }
}

/// A type of message that the broker can take to nobody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unroutable {
    /// The wire type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Since when it is known.
    pub since: Timestamp,
    /// Messages of the type that wait in the outbox.
    pub waiting: u64,
}

impl Replicated for Unroutable {
    fn is(&self, other: &Self) -> bool {
        self.kind == other.kind
    }

    fn join(&mut self, other: Self) {
        self.since = self.since.min(other.since);
        self.waiting = self.waiting.max(other.waiting);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscription(state: State, waiting: u64, in_flight: u64, retried: u64) -> Subscription {
        Subscription {
            service: Name::new("orders"),
            name: "checkout".into(),
            state,
            waiting,
            in_flight,
            handled: 7,
            retried,
            dead: 1,
        }
    }

    #[test]
    fn what_is_shared_counts_once_and_what_is_in_hand_is_added_up() {
        // Ten in the queue: three in the first one's hands, four in the second one's.
        let lists = [
            vec![subscription(State::Running, 7, 3, 1)],
            vec![subscription(State::Paused, 6, 4, 2)],
        ];
        let expected = subscription(State::Running, 3, 7, 3);
        assert_eq!(joined(lists), [expected]);
    }

    #[test]
    fn it_is_paused_when_all_are() {
        let state = |a, b| joined([a, b].map(|it| vec![subscription(it, 0, 0, 0)]))[0].state;
        assert_eq!(state(State::Paused, State::Paused), State::Paused);
        assert_eq!(state(State::Paused, State::Running), State::Running);
        assert_eq!(state(State::Running, State::Paused), State::Running);
    }

    #[test]
    fn of_breakers_the_least_closed_is_told() {
        let breaker = |state: &str, since| Breaker {
            service: Name::new("payments"),
            name: "provider".into(),
            state: state.into(),
            since: Timestamp::from_micros(since),
        };
        let lists = ["half_open", "closed", "open", "closed"]
            .into_iter()
            .zip(1..);
        let lists = lists.map(|(state, since)| vec![breaker(state, since)]);
        assert_eq!(joined(lists), [breaker("open", 3)]);
    }
}
