//! The cache on a real Redis: the contract of the port, and what it does without a server.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests of an adapter run on the real clock"
)]

mod conformance;
mod loss;
