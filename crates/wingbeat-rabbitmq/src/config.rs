//! The configuration of the transport.

use std::time::Duration;

use wingbeat_connect::TlsFiles;

/// The address of the broker, time limits and the delivery limit.
///
/// ```
/// use wingbeat_rabbitmq::Config;
///
/// let mut config = Config::new("amqp://guest:guest@localhost:5672");
/// config.delivery_limit = 50;
/// # drop(config);
/// ```
#[derive(Clone)]
pub struct Config {
    /// The URL: `amqps://user:password@host:port/vhost`. The nodes of a cluster are separated by
    /// commas; one of them is used, and another one after it is lost.
    pub url: String,
    /// Certificates and key for TLS, as far as the URL names none (`cacertfile`, `certfile`,
    /// `keyfile`).
    pub tls: TlsFiles,
    /// A prefix for the names of exchanges and queues, with which tests share a broker. Empty by
    /// default.
    pub namespace: String,
    /// The connection name that the broker shows. `wingbeat` by default.
    pub name: String,
    /// The time limit for opening a connection to one host, unless the URL has a
    /// `connection_timeout`. 5 s by default.
    pub connect_timeout: Duration,
    /// The time limit for the confirms of a batch, and for other replies of the broker. An
    /// unconfirmed message stays in the outbox. 15 s by default.
    pub confirm_timeout: Duration,
    /// The heartbeat interval, in whole seconds, unless the URL has a `heartbeat`. A connection
    /// that receives nothing for twice as long is closed. RabbitMQ recommends 5 to 20 s; 15 s by
    /// default.
    pub heartbeat: Duration,
    /// The number of times that a message may be delivered without an acknowledgement before
    /// RabbitMQ dead-letters it. A process that crashes counts once for each message in its
    /// prefetch window, including those that did not cause the crash. 100 by default.
    pub delivery_limit: u32,
}

impl Config {
    /// Creates a configuration with default values for this URL.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            tls: TlsFiles::default(),
            namespace: String::new(),
            name: "wingbeat".into(),
            connect_timeout: Duration::from_secs(5),
            confirm_timeout: Duration::from_secs(15),
            heartbeat: Duration::from_secs(15),
            delivery_limit: 100,
        }
    }
}
