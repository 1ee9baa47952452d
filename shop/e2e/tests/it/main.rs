//! The `shop` binary from outside. Needs `cargo build --release` first; `cargo xtask test release` does
//! all of it.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test ends where something is missing, and lives by the real clock"
)]

mod browser;
mod container;
mod controls;
mod disk;
mod distributed;
mod failpoints;
mod interop;
mod kill;
mod loyalty;
mod metrics;
mod missing;
mod outage;
mod over_http;
mod parked;
mod rolling;
mod start;
mod storefront;
