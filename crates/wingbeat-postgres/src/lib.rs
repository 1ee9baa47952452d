//! The store on PostgreSQL (13 or newer): one schema a service, one call a batch of units.
//!
//! # Layout
//!
//! - [`Config`], [`Postgres`]: how to connect, and the store.
//! - `segment`: units compiled into arrays, what is built on one another in one group.
//! - `commit`: what becomes of each unit. `call`: the call.
//! - [`Transaction`], `statement`: SQL of the service's own, in the same commit.
//! - `sql/`: the tables, and the function `commit_v2` that takes the arrays.
//! - `layout`: schemas are made and migrated under a lock.
//! - `reads`, `due`, `outbox`, `retain`: everything else the port asks for.
//! - `pool`, `fault`: connections, and what PostgreSQL's errors mean.
//!
//! # How a commit works
//!
//! A batch becomes a few dozen arrays and one function call, which is one transaction. It locks what the batch
//! relies on in a fixed order (`lanes` for what may be absent, rows, inbox), each class sorted, so replicas that
//! share keys wait for each other and do not deadlock. It writes in the hope that nothing has changed; only where it
//! has, it finds out which groups are refused, and writes the others. No client holds a lock while it thinks: one that is stopped or cut off in the
//! middle leaves nothing behind.
//!
//! Units with SQL of the service's own are committed in an explicit transaction: the call, their statements, COMMIT.
//! A handler that needs more has a [`Transaction`] open while it runs; its unit is committed in that, alone.

#![allow(
    clippy::disallowed_methods,
    reason = "an adapter to a real server runs on the real clock"
)]

mod arrays;
mod attempt;
mod backlog;
mod call;
mod commit;
mod config;
mod due;
mod fault;
mod lanes;
mod layout;
mod outbox;
mod pool;
mod postgres;
mod reads;
mod retain;
mod segment;
mod statement;
mod transaction;

pub use config::Config;
pub use postgres::Postgres;
pub use tokio_postgres::Row;
pub use transaction::Transaction;
