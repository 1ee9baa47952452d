//! The vocabulary and the ports of Wingbeat. This crate performs no I/O.
//!
//! Services depend on `wingbeat`, which re-exports what they need. Depend on this crate to write an
//! *adapter*: a store, a transport or a cache on a server that Wingbeat does not support yet. The
//! guide `docs/writing-an-adapter.md` shows how, from an empty crate to a passing conformance
//! suite.
//!
//! # Map
//!
//! In reading order; a module uses only modules above it.
//!
//! Values:
//!
//! - [`error`]: errors, classified as *retry* or *reject*.
//! - [`collections`]: hash maps with a reproducible iteration order.
//! - [`name`], [`time`], [`ids`], [`trace`]: names, points in time, identifiers, trace contexts.
//!
//! Messages and units of work:
//!
//! - [`schema`]: the JSON Schemas of types.
//! - [`message`], [`dialog`], [`envelope`]: message types, requests and replies, and messages in
//!   transit (CloudEvents 1.0).
//! - [`statement`]: SQL that a service adds to its unit of work.
//! - [`bodies`]: the port for bodies that are too large for a message.
//! - [`transport`]: the port for messages between services. RabbitMQ and SQLite implement it.
//! - [`mod@unit`]: the unit of work, everything that one attempt read and recorded, as plain data.
//! - [`store`]: the port for durable data, to which units are committed. PostgreSQL and SQLite
//!   implement it.
//!
//! Further ports:
//!
//! - [`runtime`]: the port for clocks, timers, tasks and random numbers.
//! - [`cache`]: the port for values that expire. Redis and an in-process cache implement it.
//! - [`outgoing`]: the port for HTTP requests to outside systems.
//! - [`tls`]: the TLS settings of connections to other systems.
//!
//! Tests:
//!
//! - `conformance` (feature `conformance`): the conformance suites of the ports.
//! - [`sabotage`], [`failpoint`]: switches with which tests disable a mechanism or end the process
//!   at a given step. Builds without the feature `sabotage` contain neither.

#![deny(missing_docs)]

pub mod collections;
pub mod error;
pub mod log_limit;

pub mod name;
pub mod network;
pub mod time;

pub mod ids;
pub mod propagation;
pub mod signature;
pub mod text;
pub mod trace;

pub mod schema;

pub mod dialog;
pub mod message;

pub mod bodies;
pub mod envelope;
pub mod statement;

pub mod transport;

pub mod unit;

pub mod store;

pub mod runtime;

pub mod cache;
pub mod outgoing;
pub mod tls;

#[cfg(feature = "conformance")]
pub mod conformance;
pub mod failpoint;
pub mod sabotage;

pub use bodies::Bodies;
pub use cache::Cache;
pub use collections::{FixedHasher, HashMap, HashSet};
pub use dialog::Dialog;
pub use envelope::Envelope;
pub use error::{Class, Error, Failure, Result, causes};
pub use futures_util::future::BoxFuture;
pub use ids::{CorrelationId, MessageId, UnitId};
pub use log_limit::{LogLimit, LogLimits};
pub use message::{Kind, Message, MessageType};
pub use name::Name;
pub use outgoing::HttpClient;
pub use propagation::Propagation;
pub use runtime::{Runtime, RuntimeExt};
pub use schema::{HasSchema, SchemaOf};
pub use signature::{Signature, Signatures};
pub use statement::{OpenTransaction, Param, Params, Statement};
pub use store::{Outbox, Record, ServiceStore, Store};
pub use time::Timestamp;
pub use trace::TraceParent;
pub use transport::{Consumer, Delivery, Tag, Topology, Transport};
pub use unit::{Key, Unit};
