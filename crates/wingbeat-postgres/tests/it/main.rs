//! Tests of the store on a private PostgreSQL server: the contract of the port, and guarantees of
//! this adapter.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests of an adapter run on the real clock"
)]

mod agrees;
mod bodies;
mod conformance;
mod effort;
mod failover;
mod growth;
mod handlers;
mod layouts;
mod loss;
mod migrations;
mod patience;
mod pooled;
mod privileges;
mod redriving;
mod replicas;
mod sql;
mod tls;
mod transaction;
