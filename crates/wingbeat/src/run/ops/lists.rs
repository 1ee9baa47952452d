//! The lists of the operator's API. Lists of several replicas merge into one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::policy::Priority;
use crate::{Name, Timestamp};

/// A list.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "{T}List")]
pub struct Items<T> {
    /// The entries.
    pub items: Vec<T>,
    /// Services of which a replica did not answer: its entries are missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub away: Vec<String>,
}

impl<T> From<Vec<T>> for Items<T> {
    fn from(items: Vec<T>) -> Self {
        let away = Vec::new();
        Self { items, away }
    }
}

/// An entry that each replica of a service reports.
pub trait Replicated {
    /// Returns whether both are about the same thing.
    fn is(&self, other: &Self) -> bool;
    /// Merges the report of another replica.
    fn join(&mut self, other: Self);
}

/// Merges the lists of the replicas of one service.
pub fn joined<T: Replicated>(lists: impl IntoIterator<Item = Vec<T>>) -> Vec<T> {
    let mut all: Vec<T> = Vec::new();
    for one in lists.into_iter().flatten() {
        match all.iter_mut().find(|it| it.is(&one)) {
            Some(known) => known.join(one),
            None => all.push(one),
        }
    }
    all
}

/// The figures of a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Subscription {
    /// Its service.
    pub service: Name,
    /// Its name within the service.
    pub name: String,
    /// Running or paused.
    pub state: State,
    /// Deliveries in its queue, and parked ones.
    pub waiting: u64,
    /// Deliveries being handled.
    pub in_flight: u64,
    /// Deliveries handled since the service exists.
    pub handled: i64,
    /// Failed attempts that were followed by another one, since the process started.
    pub retried: u64,
    /// Dead letters since the service exists. Retried ones do not count.
    pub dead: i64,
    /// The largest number of handlers that each process runs at the same time.
    #[serde(default)]
    pub concurrency: u64,
    /// The rate at which all processes together start runs, such as `50/s`; `null` without a
    /// limit.
    #[serde(default)]
    pub rate: Option<String>,
    /// The largest number of handlers that each process runs for one tenant at the same time;
    /// `null` without such a limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_tenant: Option<u64>,
    /// Which of its service's runs come first where several wait.
    #[serde(default)]
    pub priority: Priority,
    /// The pause, if an operator or a kill switch has paused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
    /// The number of its partitions, whose deliveries count as its own; 0 if it has none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub partitions: u32,
}

/// The pause of a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "SubscriptionPause")]
#[non_exhaustive]
pub struct Pause {
    /// The time at which it began.
    pub since: Timestamp,
    /// The operator, or `kill switch`.
    pub by: String,
    /// The reason.
    pub why: String,
    /// The time of the next probe, if a kill switch has paused it.
    pub probe_at: Option<Timestamp>,
}

impl From<crate::app::Pause> for Pause {
    fn from(it: crate::app::Pause) -> Self {
        Self {
            since: it.since,
            by: it.by,
            why: it.why,
            probe_at: it.probe_at,
        }
    }
}

#[allow(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// The state of a subscription: `paused` if all replicas are paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "SubscriptionState")]
#[non_exhaustive]
pub enum State {
    /// It consumes.
    Running,
    /// It does not consume until it is resumed.
    Paused,
}

impl Replicated for Subscription {
    fn is(&self, other: &Self) -> bool {
        (self.service, &self.name) == (other.service, &other.name)
    }

    /// Replicas share the queue and the counters. Deliveries in flight and failures add up.
    fn join(&mut self, other: Self) {
        let all = (self.waiting + self.in_flight).max(other.waiting + other.in_flight);
        self.in_flight += other.in_flight;
        self.waiting = all.saturating_sub(self.in_flight);
        self.retried += other.retried;
        self.handled = self.handled.max(other.handled);
        self.dead = self.dead.max(other.dead);
        self.partitions = self.partitions.max(other.partitions);
        self.pause = self.pause.take().or(other.pause);
        if other.state == State::Running {
            self.state = State::Running;
        }
    }
}

/// A circuit breaker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Breaker {
    /// Its service.
    pub service: Name,
    /// The outside system.
    pub name: String,
    /// `closed`, `half_open` or `open`: the most open state of all replicas.
    #[schemars(extend("enum" = ["closed", "half_open", "open"]))]
    pub state: String,
    /// The time of the last change.
    pub since: Timestamp,
    /// The largest number of attempts at calls that each process makes at the same time.
    #[serde(default)]
    pub concurrency: u64,
    /// The rate of attempts by all processes together, such as `50/s`; `null` without a limit.
    #[serde(default)]
    pub rate: Option<String>,
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

/// A message type that the broker cannot route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[non_exhaustive]
pub struct Unroutable {
    /// The wire type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The time at which it was first found unroutable.
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
            pause: None,
            partitions: 0,
            dead: 1,
            concurrency: 64,
            rate: None,
            per_tenant: None,
            priority: Priority::Normal,
        }
    }

    #[test]
    fn shared_figures_count_once_and_figures_of_replicas_add_up() {
        // Ten deliveries in the queue: one replica handles three of them, the other one four.
        let lists = [
            vec![subscription(State::Running, 7, 3, 1)],
            vec![subscription(State::Paused, 6, 4, 2)],
        ];
        let expected = subscription(State::Running, 3, 7, 3);
        assert_eq!(joined(lists), [expected]);
    }

    #[test]
    fn a_subscription_is_paused_if_all_replicas_are_paused() {
        let state = |a, b| joined([a, b].map(|it| vec![subscription(it, 0, 0, 0)]))[0].state;
        assert_eq!(state(State::Paused, State::Paused), State::Paused);
        assert_eq!(state(State::Paused, State::Running), State::Running);
        assert_eq!(state(State::Running, State::Paused), State::Running);
    }

    #[test]
    fn the_most_open_state_of_all_replicas_is_reported() {
        let breaker = |state: &str, since| Breaker {
            service: Name::new("payments"),
            name: "provider".into(),
            state: state.into(),
            since: Timestamp::from_micros(since),
            concurrency: 256,
            rate: None,
        };
        let lists = ["half_open", "closed", "open", "closed"]
            .into_iter()
            .zip(1..);
        let lists = lists.map(|(state, since)| vec![breaker(state, since)]);
        assert_eq!(joined(lists), [breaker("open", 3)]);
    }
}
