//! SQLite as store and broker in one file, and a cache beside it: nothing to install, nothing to lose.
//!
//! A unit of work is one transaction: what it reads is checked, what it writes, the messages it sends
//! and the delivery it settles become durable together (WAL, `synchronous=FULL`). One thread writes and
//! commits in groups; readers see the last commit.
//!
//! - [`Embedded`] is [`Store`](wingbeat_core::Store) and [`Transport`](wingbeat_core::Transport);
//!   [`EmbeddedCache`] is the [`Cache`](wingbeat_core::Cache).
//! - `schema`, `names`, `id`: what stands in `wingbeat.db`.
//! - `writer`: the thread that commits. `recent`: what it wrote lately. `reads`: what is read from the file.
//! - `queue`, `broker`: windows of waiting messages, consumers. `due`: who holds which due record.
//! - `guard`: what SQL of a service's own may do in the same file.
//! - `fault`, `intake`, `stats`: what happens when the disk says no; what can be measured.
#![allow(
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "the adapter owns real threads and clocks; SQLite has only signed numbers"
)]

mod broker;
pub mod cache;
pub mod config;
mod due;
pub mod embedded;
mod fault;
mod guard;
mod id;
mod intake;
mod memory;
mod names;
mod queue;
mod reads;
mod recent;
mod schema;
mod stats;
mod workers;
mod writer;

pub use cache::EmbeddedCache;
pub use config::Config;
pub use embedded::Embedded;
pub use stats::Stats;
