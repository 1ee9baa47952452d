//! SQLite as store and message broker in one file, with a cache beside it. Needs no server.
//!
//! A unit of work is one transaction: its reads are validated, and its writes, its messages and the
//! delivery it settles become durable together (WAL, `synchronous=FULL`). One thread writes and
//! commits units in groups; readers see the last commit.
//!
//! [`Embedded`] implements [`Store`](wingbeat_core::Store) and
//! [`Transport`](wingbeat_core::Transport); [`EmbeddedCache`] implements
//! [`Cache`](wingbeat_core::Cache).
//!
//! # Damage
//!
//! A damaged file never heals, so no call may be repeated until it does. At the start damage is an
//! error: `data_unreadable`, or `data_lost` and `data_mixed` for files that do not belong together.
//! While the process runs, damage ends it with exit code 2 and one line (`store_corrupt`): each
//! further commit could build on wrong data.
//!
//! # Layout
//!
//! - `config`, `private`, `data_set`, `open_mark`, `schema`: the data directory, the files that
//!   belong to it, their tables.
//! - `names`, `id`, `columns`: how names, record ids and index columns are encoded.
//! - `skeleton`, `packed`: how bodies are compressed, with dictionaries of their keys.
//! - `queue`, `broker`: queues in memory, each a bounded window onto its rows.
//! - `recent`, `removed`, `leases`, `intake`, `stats`: state that readers and the writer share.
//! - `guard`: limits the SQL of services to their own tables.
//! - `writer`: the thread that commits. `workers`, `reads`, `views`: threads and queries that only
//!   read.
//! - `consumer`: takes messages from a queue and acknowledges them.
//! - `memory`: the cache's values in memory.
//! - `bodies`: large bodies in files.
//! - `embedded`, `cache`: the implementations of the ports.
//! - `inspector`: reads the file beside the process that has it open.
//! - `fault`: classifies SQLite's errors.
#![allow(
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "the adapter owns real threads and clocks; SQLite has only signed numbers"
)]
#![warn(missing_docs)]

mod allotments;
mod bodies;
mod broker;
mod cache;
mod columns;
mod config;
mod consumer;
mod data_set;
mod dense;
mod embedded;
mod fault;
mod guard;
mod id;
mod inspector;
mod intake;
mod leases;
mod memory;
mod names;
mod open_mark;
mod packed;
mod private;
mod queue;
mod reads;
mod recent;
mod removed;
mod replies;
mod schema;
mod skeleton;
mod stats;
mod views;
mod workers;
mod writer;

pub use bodies::FileBodies;
pub use cache::EmbeddedCache;
pub use config::Config;
pub use data_set::Loss;
pub use embedded::Embedded;
pub use inspector::Inspector;
pub use private::private_directory;
pub use stats::Stats;
