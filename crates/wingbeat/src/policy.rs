//! How often, how many, how long: the numbers that govern handlers and targets.

use std::time::Duration;

/// How a subscription handles its messages.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Handlers running at once; messages with the same key never do.
    pub concurrency: usize,
    /// Deliveries held unacknowledged: enough to fill a batch of the store.
    pub prefetch: usize,
    /// What happens after failures.
    pub retry: Retry,
    /// Messages with the same key are handled in the order in which they came into the queue, over failures,
    /// restarts and replicas; see [`crate::Handler::ordered`].
    pub ordered: bool,
    /// The queue's name within the service, when it is not the message's own.
    pub name: Option<&'static str>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            concurrency: 64,
            prefetch: 512,
            retry: Retry::default(),
            ordered: false,
            name: None,
        }
    }
}

/// First a few quick attempts in process, then parked ones, then a dead letter.
#[derive(Clone, Debug)]
pub struct Retry {
    /// Attempts in process before the delivery is parked.
    pub quick: u32,
    /// The pause after the first quick attempt; it doubles.
    pub backoff: Duration,
    /// How long the delivery is parked before each further attempt; after the last, a dead letter.
    pub parked: Vec<Duration>,
}

impl Default for Retry {
    fn default() -> Self {
        let seconds = [1, 5, 30, 120, 600];
        Self {
            quick: 3,
            backoff: Duration::from_millis(20),
            parked: seconds.into_iter().map(Duration::from_secs).collect(),
        }
    }
}

impl Retry {
    /// Outlasts an hour in which another service, or the broker, is away.
    pub(crate) fn patient() -> Self {
        let mut patient = Self::default();
        patient.parked.push(Duration::from_secs(3_600));
        patient
    }
}

/// How calls to one outside target are made, whoever makes them.
#[derive(Clone, Debug)]
pub struct TargetPolicy {
    /// How long one attempt may take.
    pub timeout: Duration,
    /// Attempts at once (the bulkhead).
    pub concurrency: usize,
    /// The pause after a failed attempt; it doubles up to `backoff_max`.
    pub backoff: Duration,
    /// The longest pause between attempts.
    pub backoff_max: Duration,
    /// After this time a call is given up.
    pub give_up_after: Duration,
    /// Failures in a row that open the breaker.
    pub breaker_failures: u32,
    /// How long an open breaker lets nothing through before it probes.
    pub breaker_open: Duration,
}

impl Default for TargetPolicy {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(5),
            concurrency: 256,
            backoff: Duration::from_millis(100),
            backoff_max: Duration::from_secs(10),
            give_up_after: Duration::from_secs(24 * 3600),
            breaker_failures: 5,
            breaker_open: Duration::from_secs(2),
        }
    }
}
