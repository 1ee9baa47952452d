//! Wingbeat: event-driven services that read, decide and record, while the runtime commits.
//!
//! # Layout
//!
//! In the order of a message:
//!
//! - Users wire services: `app`, `service`, `handler`, `extract`, `effects`, `policy`, `state`, [`saga`], [`call`],
//!   [`http`]. Documents are made from the wiring: [`describe`].
//! - A message comes in: `dispatch`. One attempt reads and asks: `unit`. Many units become durable: `commit`.
//! - Afterwards: `publish` (to the broker), `due` (timers, parked deliveries, calls), `failed` (dead letters).
//! - Around it: `runtime`, [`telemetry`], and, with the feature `test`, [`test`].

mod app;
pub mod call;
mod codec;
mod commit;
pub mod describe;
mod dispatch;
mod due;
mod effects;
mod extract;
mod failed;
mod handler;
#[cfg(feature = "http")]
pub mod http;
mod policy;
mod publish;
#[cfg(feature = "host")]
pub mod run;
mod runtime;
pub mod saga;
mod service;
mod state;
pub mod telemetry;
#[cfg(feature = "test")]
pub mod test;
mod unit;

pub use app::{App, Ports, Running, RunningSubscription};
pub use call::{Call, GaveUp, OperationKey};
pub use codec::{decode, encode_body};
pub use dispatch::Stats;
pub use effects::{CommandMessage, Effects, Either, EventMessage, HandlerOutput, IntoEffects};
pub use extract::{Arguments, Extract, ExtractAll, Now, Part, State};
pub use failed::{DeadLetter, Failures};
pub use handler::{Configured, Erased, Handler, MessageHandler};
pub use policy::{Policy, Retry, TargetPolicy};
pub use publish::Unroutable;
#[cfg(feature = "host")]
pub use run::{Program, Settings, run, run_program};
pub use runtime::{Control, TaskGroup, TokioRuntime};
pub use saga::{Accepts, AcceptsTimer, Answers, Late, Saga, SagaEffects, SagaInput, SagaRow};
pub use service::Service;
pub use state::{
    Aggregate, CacheOf, Cached, Claims, Difference, Entity, Listed, Reads, Repo, Rows, Table,
    Verified, View, ViewRow,
};
pub use unit::{Entry, Meta, Scope, ServiceContext, Sql, run_unit};

pub use schemars::{self, JsonSchema};
pub use wingbeat_core::runtime::SharedRuntime;
pub use wingbeat_core::store::{Position, Select};
pub use wingbeat_core::{
    BoxFuture, Cache, Class, Companion, Consumer, CorrelationId, Delivery, Envelope, Error,
    Failure, HasSchema, HashMap, HashSet, HttpClient, Key, Kind, Message, MessageId, MessageType,
    Name, Outbox, Param, Params, Record, Result, Runtime, RuntimeExt, SchemaOf, ServiceStore,
    Statement, Store, Tag, Timestamp, Topology, TraceParent, Transport, Unit, UnitId,
};
pub use wingbeat_core::{cache, envelope, outgoing, statement, store, transport};
#[doc(hidden)]
pub use wingbeat_core::{failpoint, sabotage};
pub use wingbeat_macros::{Call, Command, Event, Failure, Parts, SagaInput, test};

pub(crate) use codec::encode;
