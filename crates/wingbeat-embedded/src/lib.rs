//! SQLite as store and broker in one file: so far its parts below the writer.
//!
//! - [`config`]: where the data lies and how much memory it may take.
//! - `schema`, `names`, `id`: what stands in `wingbeat.db`.
//! - `workers`: threads that own a connection each.
//! - `fault`, `intake`, `stats`: what happens when the disk says no; what can be measured.
#![allow(
    clippy::disallowed_methods,
    reason = "the adapter owns real threads and clocks"
)]
#![allow(dead_code, reason = "the writer that uses these is being written")]

pub mod config;
mod fault;
mod id;
mod intake;
mod names;
mod schema;
mod stats;
mod workers;

pub use config::Config;
pub use stats::Stats;
