//! The ports between the runtime and its adapters, and the types that they exchange.
//!
//! Services need few of them: a test that wraps a store or a transport, a program that starts an
//! [`App`](crate::App) on [`Ports`](crate::Ports) of its own, or a consumer that reads an
//! [`Envelope`]. An adapter is a crate of its own: it depends on `wingbeat-core`, which defines all
//! of this. The guide `docs/writing-an-adapter.md` shows how to write one.
//!
//! | Port | Implemented by | With |
//! |---|---|---|
//! | [`Store`] | SQLite, PostgreSQL | [`Unit`], [`Record`], [`Outbox`], [`Statement`] |
//! | [`Transport`] | SQLite, RabbitMQ | [`Envelope`], [`Delivery`], [`Consumer`], [`Topology`] |
//! | [`Cache`] | a map in memory, Redis | [`cache`](crate::cache) |
//! | [`Bodies`] | PostgreSQL, a folder | [`LargeBodies`](crate::bodies::LargeBodies) |
//! | [`HttpClient`] | HTTP/1.1 with and without TLS | [`outgoing`](crate::outgoing) |
//! | [`Signatures`] | Ed25519, in [`trust`](crate::trust) | [`Signature`] |

pub use crate::codec::published_by;
#[doc(inline)]
pub use wingbeat_core::{
    Bodies, Cache, Consumer, Delivery, Dialog, Envelope, HttpClient, Key, Kind, MessageId,
    MessageType, OpenTransaction, Outbox, Param, Params, Propagation, Record, ServiceStore,
    Signature, Signatures, Statement, Store, Tag, Topology, TraceParent, Transport, Unit, UnitId,
};
pub use wingbeat_core::{dialog, envelope, signature, statement};
