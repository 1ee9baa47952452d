//! The `shop` binary from outside. Needs `cargo build --release` first; `cargo xtask test release` does
//! all of it.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test ends where something is missing, and lives by the real clock"
)]

mod browser;
mod controls;
mod disk;
mod kill;
mod outage;
mod parked;
mod process;
mod start;
mod storefront;
