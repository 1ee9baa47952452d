//! The embedded adapter against the contracts of the ports, and what only it promises.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests of an adapter run on the real clock"
)]

mod conformance;
mod controls;
mod files;
mod growth;
mod kill;
mod own_tables;
mod statements;
