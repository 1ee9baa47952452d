//! Tests of the embedded adapter: the contracts of the ports, and guarantees of this adapter.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests of an adapter run on the real clock"
)]

mod batches;
mod bodies;
mod conformance;
mod controls;
mod files;
mod growth;
mod inspecting;
mod kill;
mod own_tables;
mod packed;
mod partitioned;
mod redriving;
mod replaying;
mod retrying;
mod setup;
mod statements;
mod strangers;
mod tenants;
