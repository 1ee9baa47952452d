//! The store on PostgreSQL (13 or newer): one schema a service, one call a batch of units.
//!
//! # Layout
//!
//! - [`Config`], [`Postgres`]: how to connect, and the store.
//! - `segment`: units compiled into arrays, what is built on one another in one group.
//! - `commit`: the call, and what its refusals mean for each unit.
//! - `sql/`: the tables, and the function `commit_v1` that takes the arrays.
//! - `layout`: schemas are made and migrated under a lock.
//! - `reads`, `due`, `outbox`, `retain`: everything else the port asks for.
//! - `pool`, `fault`: connections, and what PostgreSQL's errors mean.
//!
//! # How a commit works
//!
//! A batch becomes a few dozen arrays and one function call, which is one transaction. It locks what the batch
//! relies on in a fixed order (absent keys by advisory locks, rows, inbox), each class sorted, so replicas that
//! share keys wait for each other and do not deadlock. It compares versions, remembers deliveries in the inbox,
//! and writes what was not refused. No client holds a lock while it thinks: one that is stopped or cut off in the
//! middle leaves nothing behind.

#![allow(
    clippy::disallowed_methods,
    reason = "an adapter to a real server runs on the real clock"
)]

mod backlog;
mod commit;
mod config;
mod due;
mod fault;
mod layout;
mod outbox;
mod pool;
mod postgres;
mod reads;
mod retain;
mod segment;

pub use config::Config;
pub use postgres::Postgres;
