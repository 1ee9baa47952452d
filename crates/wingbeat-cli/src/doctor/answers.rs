//! The answers of the operator's API, as far as the diagnosis reads them.
//!
//! Unknown fields are ignored and missing ones have a default, so that `doctor` understands apps of
//! other releases.

use serde::Deserialize;
use wingbeat::Timestamp;

/// A list.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Items<T> {
    /// Its entries.
    #[serde(default = "Vec::new")]
    pub items: Vec<T>,
}

/// `GET /ops/process`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Process {
    /// Its clock.
    pub now: Option<Timestamp>,
    /// Its release.
    pub version: String,
    /// Its services.
    pub services: Vec<String>,
    /// Its servers.
    pub servers: Vec<Server>,
}

/// A server of a process.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Server {
    /// `store`, `broker` or `cache`.
    pub part: String,
    /// It can be used.
    pub available: bool,
    /// The code of the error.
    pub code: Option<String>,
    /// The error.
    pub detail: Option<String>,
}

/// An entry of `GET /ops/queues`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Queue {
    /// The service.
    pub service: String,
    /// The name of the subscription.
    pub name: String,
    /// Messages that no consumer has received.
    pub waiting: Option<u64>,
    /// Consumers in all processes.
    pub consumers: Option<u64>,
    /// The subscription runs in this process.
    pub here: bool,
    /// It is paused here.
    pub paused: bool,
    /// Its work waits for its rate.
    pub limited: bool,
    /// The age of the oldest delivery.
    pub oldest_seconds: u64,
}

/// An entry of `GET /ops/backlog`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Backlog {
    pub(super) service: String,
    pub(super) outbox: Overdue,
    pub(super) due: Vec<Due>,
}

/// A number of records, and the age of the oldest.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Overdue {
    pub(super) count: u64,
    pub(super) age_seconds: u64,
}

/// The records of one kind that have a due time.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Due {
    /// `timer`, `call`, `parked`, `waiting` or `delayed`.
    pub kind: String,
    /// All of them.
    pub pending: u64,
    pub(super) overdue: Overdue,
}

/// An entry of `GET /ops/topology`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Deviation {
    /// The queue on the broker.
    pub queue: String,
    /// `missing`, `changed`, `migrating` or `orphaned`.
    pub kind: String,
    /// The difference.
    pub detail: Option<String>,
    /// The messages in it.
    pub waiting: u64,
    /// Its consumers.
    pub consumers: u64,
}

/// An entry of `GET /ops/subscriptions`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Subscription {
    pub(super) service: String,
    pub(super) name: String,
    pub(super) state: String,
    pub(super) waiting: u64,
}

/// An entry of `GET /ops/schedules`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Schedule {
    /// The service.
    pub service: String,
    /// Its name.
    pub name: String,
    /// `running` or `paused`.
    pub state: String,
    /// The next planned time.
    pub next: Option<Timestamp>,
    pub(super) last: Option<Run>,
}

/// The last run of a schedule.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Run {
    pub(super) error: Option<String>,
}

/// An entry of `GET /ops/rebuilds`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Rebuild {
    pub(super) service: String,
    pub(super) table: String,
    pub(super) state: String,
    pub(super) failure: Option<String>,
}

/// An entry of `GET /ops/replays`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Replay {
    pub(super) service: String,
    pub(super) queue: String,
    pub(super) state: String,
    pub(super) failure: Option<String>,
}

/// An entry of `GET /ops/breakers`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Breaker {
    pub(super) service: String,
    pub(super) name: String,
    pub(super) state: String,
}

/// An entry of `GET /ops/overload`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Resource {
    pub(super) resource: String,
    pub(super) level: u8,
    pub(super) reading: Option<u64>,
    pub(super) high: u64,
    pub(super) low: u64,
}

/// An entry of `GET /ops/unroutable`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Unroutable {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) waiting: u64,
}

/// An entry of `GET /ops/dead-letters`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Letter {
    /// Its id.
    pub id: String,
    /// The queue that it came from.
    pub subscription: String,
    /// The error code.
    pub reason: String,
    /// The last error.
    pub error: String,
}
