//! Tests of the cache on a real Redis: the conformance suite, and the failures of a server.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests of an adapter run on the real clock"
)]

mod conformance;
mod failover;
mod loss;
mod tls;
