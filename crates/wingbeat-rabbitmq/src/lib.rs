//! The transport on RabbitMQ (3.10 to 4.x), over AMQP 0-9-1.
//!
//! Services select it with `--broker amqp://…`; [`RabbitMq::connect`] is for hosts that wire their
//! ports themselves.
//!
//! ```no_run
//! use std::sync::Arc;
//! use wingbeat_core::runtime::SharedRuntime;
//! use wingbeat_rabbitmq::{Config, RabbitMq};
//!
//! # async fn connect(runtime: SharedRuntime) -> wingbeat_core::Result<Arc<RabbitMq>> {
//! let mut config = Config::new("amqp://orders:secret@rabbitmq:5672/shop");
//! config.name = "orders".into();
//! RabbitMq::connect(&config, runtime).await
//! # }
//! ```
//!
//! # Map
//!
//! - [`Config`]: the address, time limits and the delivery limit.
//! - `address`, `socket`: the parts of the URL, and the client on connections with TLS.
//! - `connection`: a connection that is opened again after it is lost.
//! - `topology`: exchanges, queues and bindings. `register`: the names of all queues.
//!   `differences`: queues with other arguments.
//! - `command`, `access`, `operate`, `migration`, `copying`, `held` and `probe`: an operator's
//!   commands.
//! - `guard`: repairs deliveries that the AMQP client cannot parse, and cuts off large bodies.
//! - `wire`: the CloudEvents binding for AMQP, in binary mode.
//! - `publisher`: confirms and returned messages. `consumer`: deliveries and acknowledgements.
//! - [`RabbitMq`]: the transport.
//!
//! # Design
//!
//! Queues are quorum queues with an explicit delivery limit. Each service has a queue for messages
//! that exceed it. Every process declares the whole topology on each new connection, before it
//! publishes.
//!
//! Every message is persistent and confirmed. Messages that need a subscriber are mandatory; the
//! publisher matches a returned message by its id.
//!
//! A delivery never ends the consumers of others. The guard replaces what the client cannot parse,
//! and a consumer with more than 32 MiB of unacknowledged bodies is opened again with a small
//! prefetch.
//!
//! Publishing and consuming use separate connections: on a connection that RabbitMQ has blocked,
//! the client sends neither acknowledgements nor heartbeats. Commands of an operator, the register
//! and repairs of the topology have a connection of their own, which is closed afterwards: RabbitMQ
//! closes the connection on which a queue does not reply in time.
//!
//! Connections, channels and consumers are disposable. After any error the adapter drops them and
//! opens new ones, with backoff and without an end. It does not use the recovery of the client
//! library, delays in the broker, or `x-death` headers, except to find the original queue of a dead
//! letter.

#![deny(missing_docs)]
#![allow(
    clippy::disallowed_methods,
    reason = "an adapter to a real server runs on the real clock and on tokio"
)]

mod config;

mod address;
mod guard;
mod socket;

mod connection;

mod definitions;
mod topology;

mod access;
mod command;
mod copying;
mod differences;
mod held;
mod migration;
mod operate;
mod probe;
mod register;

mod wire;

mod consumer;
mod publisher;

mod rabbitmq;

mod forwarding;

#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;

pub use config::Config;
pub use definitions::{User, definitions};
pub use rabbitmq::RabbitMq;
pub use wingbeat_connect::TlsFiles;
