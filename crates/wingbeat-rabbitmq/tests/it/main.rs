//! The transport on a real RabbitMQ: the contract of the port, and what only it promises.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests of an adapter run on the real clock"
)]

mod blocked;
mod conformance;
#[cfg(feature = "sabotage")]
mod controls;
mod letters;
mod loss;
mod ordered;
mod outbox;
mod topology;
mod traffic;
mod world;
