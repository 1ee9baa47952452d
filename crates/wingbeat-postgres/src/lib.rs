//! A store on PostgreSQL 13 or newer: one schema per service, one call per batch of units.
//!
//! # Layout
//!
//! - [`Config`], `clock`, `fault`: settings, stored times, and the classification of errors.
//! - `address`, `connector`: the parts of the URL, TLS, and the choice of a host.
//! - `statement`, [`Transaction`], `pool`, `pooled`: SQL of services, transactions, connections,
//!   and the detection of poolers.
//! - `reads`, `due`, `backlog`, `retain`: queries and statements on one schema.
//! - `layout`, `sql/`: creates and migrates the tables and the function `commit_v5`. [`Grants`]:
//!   privileges of roles that only use them.
//! - `bodies`: large bodies of messages, in a schema that all services share.
//! - `inbox`, `places`: rows of the inbox, and places of messages in the outbox.
//! - `commit`: compiles a batch of units into arrays and calls the function.
//! - `database`: the connections and the schemas. `outbox`, [`Postgres`]: the ports.
//!
//! # How a commit works
//!
//! A batch becomes a few dozen arrays and one function call, which is one transaction. The function
//! locks what the batch relies on in a fixed order (advisory locks for rows that may be absent,
//! rows, inbox), each class sorted: replicas that use the same keys wait for each other and do not
//! deadlock. It first assumes that nothing has changed. Only if that is wrong, it determines the
//! groups of units to refuse, and writes the others. No client holds a lock between two calls, so a
//! client that stops or loses its connection leaves nothing behind.
//!
//! Units with SQL of the service are committed in an explicit transaction: the call, their
//! statements, COMMIT. A handler that needs more opens a [`Transaction`] while it runs. Its unit is
//! committed in that transaction, alone.
#![allow(
    clippy::disallowed_methods,
    reason = "an adapter to a real server runs on the real clock"
)]
#![warn(missing_docs)]

mod address;
mod backlog;
mod bodies;
mod clock;
mod commit;
mod config;
mod connector;
mod database;
mod due;
mod fault;
mod grants;
mod inbox;
mod layout;
mod outbox;
mod places;
mod pool;
mod pooled;
mod postgres;
mod reads;
mod retain;
mod statement;
mod transaction;

pub use config::Config;
pub use grants::Grants;
pub use postgres::Postgres;
pub use tokio_postgres::Row;
pub use transaction::Transaction;
pub use wingbeat_connect::TlsFiles;
