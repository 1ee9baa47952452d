//! The transport on RabbitMQ (3.10 to 4.x), over AMQP 0-9-1.
//!
//! # Layout
//!
//! - [`Config`], [`RabbitMq`]: how to connect, and the transport.
//! - `wire`: messages as CloudEvents in AMQP's binary mode.
//! - `link`: a connection that is made anew whenever it is gone.
//! - `topology`: exchanges, queues and bindings.
//! - `publisher`: confirms and returned messages. `consumer`: deliveries and acknowledgements.
//!
//! # What it relies on, and what not
//!
//! Queues are quorum queues with an explicit delivery limit and a queue of dead letters a service, declared by every process
//! for all of the topology before it publishes. Every message is persistent, mandatory and confirmed; a returned
//! one is told by its id. Publishing and consuming have a connection each, since a blocked connection says nothing
//! at all, acknowledgements and heartbeats included. Connections, channels and consumers are disposable: after any
//! error they are dropped and made anew, with back-off and for ever. Nothing relies on the client's own recovery,
//! on `x-death` (but to tell where a dead letter came from), or on delays in the broker.

#![allow(
    clippy::disallowed_methods,
    reason = "an adapter to a real server runs on the real clock and on tokio"
)]

mod config;
mod consumer;
mod link;
mod publisher;
mod rabbitmq;
mod topology;
mod wire;

pub use config::Config;
pub use rabbitmq::RabbitMq;
