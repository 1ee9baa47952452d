//! The vocabulary and the ports of Wingbeat. No I/O happens here.
//!
//! # Layout
//!
//! - [`name`], [`ids`], [`time`], [`trace`]: the words everything else is made of.
//! - [`message`], [`envelope`]: what services say to each other (CloudEvents 1.0). [`schema`]: their JSON Schemas.
//! - [`mod@unit`]: the unit of work, all that a handler asked for, as plain data. [`statement`]: the SQL in it.
//! - [`store`], [`transport`], [`cache`]: the ports for what must last, travel, and be quick.
//! - [`runtime`]: the ports for time, chance and tasks. [`outgoing`]: the port for outside HTTP.
//! - [`error`]: failures, classed *retry* or *reject*.
//! - [`sabotage`], [`failpoint`]: what tests take away, and where they end a process; nothing in default builds.
//! - `conformance` (feature): what the contract tests of the ports share.

pub mod cache;
pub mod collections;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod envelope;
pub mod error;
pub mod failpoint;
pub mod ids;
pub mod message;
pub mod name;
pub mod outgoing;
pub mod runtime;
pub mod sabotage;
pub mod schema;
pub mod statement;
pub mod store;
pub mod time;
pub mod trace;
pub mod transport;
pub mod unit;

pub use cache::Cache;
pub use collections::{HashMap, HashSet};
pub use envelope::Envelope;
pub use error::{Class, Error, Failure, Result};
pub use futures_util::future::BoxFuture;
pub use ids::{CorrelationId, MessageId, UnitId};
pub use message::{Kind, Message, MessageType};
pub use name::Name;
pub use outgoing::HttpClient;
pub use runtime::{Runtime, RuntimeExt};
pub use schema::{HasSchema, SchemaOf};
pub use schemars::{self, JsonSchema};
pub use statement::{Companion, Param, Params, Statement};
pub use store::{Outbox, Record, ServiceStore, Store};
pub use time::Timestamp;
pub use trace::TraceParent;
pub use transport::{Consumer, Delivery, Tag, Topology, Transport};
pub use unit::{Key, Unit};
