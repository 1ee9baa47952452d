//! End-to-end tests of the `shop` binary. They need `cargo build --release` and the build with
//! sabotage; `cargo xtask test release` makes both and runs the tests.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test ends where something is missing, and runs on the real clock"
)]

mod browser;
mod chart;
mod console;
mod container;
mod contracts;
mod controls;
mod dashboards;
mod disk;
mod distributed;
mod evolving;
mod failpoints;
mod flash;
mod inherited;
mod interop;
mod kill;
mod least;
mod loyalty;
mod metrics;
mod missing;
mod outage;
mod over_http;
mod parked;
mod partitions;
mod production;
mod rolling;
mod shared;
mod start;
mod storefront;
mod traces;
mod trust;
mod users;
