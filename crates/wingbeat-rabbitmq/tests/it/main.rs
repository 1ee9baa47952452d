//! Tests of the transport on a real RabbitMQ: the conformance suite, and the failures of a broker.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests of an adapter run on the real clock"
)]

mod batches;
mod blocked;
mod bodies;
mod conformance;
#[cfg(feature = "sabotage")]
mod controls;
mod dead_letters;
mod generator;
mod loss;
mod operate;
mod ordered;
mod outbox;
mod partitioned;
mod raw;
mod register;
mod replaying;
mod requests;
mod strangers;
mod tls;
mod topology;
mod traffic;
mod world;
