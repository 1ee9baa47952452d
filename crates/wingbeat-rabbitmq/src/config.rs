//! How to reach a broker and how much to ask of it.

use std::time::Duration;

/// Where the broker is and how it is used.
#[derive(Clone)]
pub struct Config {
    /// `amqp://user:password@host:port/vhost`.
    pub url: String,
    /// Put before the names of exchanges and queues; empty in production.
    pub namespace: String,
    /// Shown by the broker for the connections.
    pub name: String,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest wait for the confirms of a batch. What was not confirmed stays in the outbox.
    pub confirm_timeout: Duration,
    /// A connection on which nothing was heard for twice as long is given up: a whole number of seconds.
    /// RabbitMQ's manual advises 5 to 20.
    pub heartbeat: Duration,
    /// How often a message may come back unacknowledged (a crash each) before it is a dead letter.
    /// A consumer that crashes takes one from each message it was handed, so innocents count as well.
    pub delivery_limit: u32,
}

impl Config {
    /// The defaults for this URL.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            namespace: String::new(),
            name: "wingbeat".into(),
            connect_timeout: Duration::from_secs(5),
            confirm_timeout: Duration::from_secs(15),
            heartbeat: Duration::from_secs(15),
            delivery_limit: 100,
        }
    }
}
