//! Wingbeat: event-driven services that read, decide and record, while the runtime commits.
//!
//! A **handler** is an async function. Its first argument is the message it subscribes to; further
//! arguments read and change the service's data; it returns the messages to publish. Nothing takes
//! effect while it runs. The runtime commits the new state, the messages, the timers and the fact
//! that the message was handled in one step, and acknowledges the message only then. So no message
//! is forgotten, and effects happen once, also over crashes.
//!
//! The same services run in one process with nothing installed (SQLite embedded as store and
//! broker), each in its own process on RabbitMQ, PostgreSQL and Redis, and in a deterministic
//! simulation.
//!
//! # Tutorial: two services in ten minutes
//!
//! ```toml
//! [dependencies]
//! wingbeat = "0.1"
//! schemars = "1"
//! serde = { version = "1", features = ["derive"] }
//! ```
//!
//! ## An event
//!
//! A message is a type. Its name and version are the contract with other services, and never
//! change. Messages with the same key are handled one at a time, in order. The JSON Schema becomes
//! part of `/asyncapi.json`.
//!
//! ```
//! use schemars::JsonSchema;
//! use serde::{Deserialize, Serialize};
//! use wingbeat::Event;
//!
//! /// A book was lent to a reader.
//! #[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
//! #[event(name = "library.book_lent", version = 1, key = book)]
//! struct BookLent {
//!     book: String,
//!     reader: String,
//! }
//! # use wingbeat::Message as _;
//! # assert_eq!(BookLent::NAME, "library.book_lent.v1");
//! ```
//!
//! ## A service that publishes it
//!
//! An HTTP write is a handler, too. Uniqueness is a *claim*, never a query: of two requests for one
//! book, only one commits. The response leaves after the commit.
//!
//! ```
//! # use schemars::JsonSchema;
//! # use serde::{Deserialize, Serialize};
//! use wingbeat::http::{Json, Problem, Reply, Routes, accepted, post};
//! use wingbeat::{Claims, Event, Scope, Service};
//! # #[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
//! # #[event(name = "library.book_lent", version = 1, key = book)]
//! # struct BookLent { book: String, reader: String }
//!
//! async fn lend(
//!     Json(loan): Json<BookLent>,
//!     claims: Claims,
//!     scope: Scope,
//! ) -> Result<Reply, Problem> {
//!     if !claims.claim("lent", &loan.book, &loan.reader).await? {
//!         return Err(Problem::new(409, "already_lent", "another reader has this book"));
//!     }
//!     scope.publish(&loan)?;
//!     Ok(accepted(&loan))
//! }
//!
//! let library = Service::new("library").routes(Routes::new().route("/loans", post(lend)));
//! # drop(library);
//! ```
//!
//! ## A service that reacts
//!
//! It shares nothing with the first one but the event. It has data of its own, and a queue of its
//! own.
//!
//! ```
//! # use schemars::JsonSchema;
//! # use serde::{Deserialize, Serialize};
//! use wingbeat::{Entity, Event, Result, Service, Table};
//! # #[derive(Event, Clone, Serialize, Deserialize, JsonSchema)]
//! # #[event(name = "library.book_lent", version = 1, key = book)]
//! # struct BookLent { book: String, reader: String }
//!
//! #[derive(Clone, Default, Serialize, Deserialize)]
//! struct Loans {
//!     books: u32,
//! }
//!
//! impl Entity for Loans {
//!     const NAME: &'static str = "loans";
//!     type Id = String;
//! }
//!
//! async fn count(event: BookLent, loans: Table<Loans>) -> Result<()> {
//!     let add = |known: Option<Loans>| Loans { books: known.unwrap_or_default().books + 1 };
//!     loans.update(&event.reader, add).await.map(drop)
//! }
//!
//! let statistics = Service::new("statistics").on(count);
//! # drop(statistics);
//! ```
//!
//! ## The program
//!
//! ```no_run
//! use std::process::ExitCode;
//! use wingbeat::{App, Service, Settings};
//!
//! fn main() -> ExitCode {
//!     wingbeat::run(|_: &Settings| {
//!         App::new().service(Service::new("library")).service(Service::new("statistics"))
//!     })
//! }
//! ```
//!
//! `cargo run` starts it and prints its addresses. Then:
//!
//! ```text
//! curl localhost:8080/loans -H 'Content-Type: application/json' \
//!     -d '{"book":"Emma","reader":"Ada"}'
//! curl localhost:9464/ops/subscriptions
//! curl localhost:9464/metrics
//! ```
//!
//! Kill it with `kill -9` at any time and start it again: each loan is counted once.
//!
//! ## A test
//!
//! With the feature `test`, [`test::TestApp`] runs the app in memory, in virtual time, under a seed
//! that decides which task runs next.
//!
//! ```
//! # #[cfg(feature = "test")] {
//! use wingbeat::test::TestApp;
//! use wingbeat::{App, Service};
//!
//! let app = TestApp::start(1, App::new().service(Service::new("library")));
//! app.until_idle();
//! assert_eq!(app.dead_letters("library"), 0);
//! # }
//! ```
//!
//! [`test::Simulator`] goes further: it lives many lives of a whole system with crashes,
//! duplicates, reordering and outages, and reports the seed of a life that breaks an invariant.
//!
//! ## Next steps
//!
//! - Processes over several services, with timers: [`Saga`].
//! - Outside systems, with retries and circuit breakers: [`Call`].
//! - Event-sourced state: [`Aggregate`]. Lists and searches: [`View`].
//! - Each service in its own process: build with the feature `servers`, then `<program> run library
//!   --broker amqp://… --store postgres://… --cache redis://…`.
//! - Settings of your own: [`Settings`]. Operations: [`run::ops`].
//!
//! # The crate, in the order of a message
//!
//! | Modules | Content |
//! |---|---|
//! | `app`, `service`, `handler`, `extract`, `effects`, `policy` | services, handlers and their wiring |
//! | `state`, [`saga`], [`call`], [`http`] | a service's data, processes, outside calls, HTTP |
//! | `dispatch` | a message comes in |
//! | `unit` | one attempt reads and records |
//! | `commit` | many units become durable |
//! | `publish`, `due`, `failed` | messages go out; timers, retries and calls come due; dead letters |
//! | [`describe`] | AsyncAPI and OpenAPI documents, made from the wiring |
//! | `runtime`, [`telemetry`], [`run`](mod@run), [`test`](mod@test) | time and tasks, observation, programs, tests |
//!
//! # Features
//!
//! | Feature | Content |
//! |---|---|
//! | `embedded` (default) | SQLite as store and broker, in one file |
//! | `host` (default) | [`run()`](run()): settings, logs, the operator's port, signals; includes `http` |
//! | `http` | commands, routes, sessions |
//! | `servers` | RabbitMQ, PostgreSQL and Redis |
//! | `otlp` | spans to an OpenTelemetry collector |
//! | `test` | the test kit |

#![deny(missing_docs)]

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
pub use policy::{Policy, Retry, SagaPolicy, TargetPolicy};
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
    BoxFuture, Cache, Class, Consumer, CorrelationId, Delivery, Envelope, Error, Failure,
    HasSchema, HashMap, HashSet, HttpClient, Key, Kind, Message, MessageId, MessageType, Name,
    OpenTransaction, Outbox, Param, Params, Record, Result, Runtime, RuntimeExt, SchemaOf,
    ServiceStore, Statement, Store, Tag, Timestamp, Topology, TraceParent, Transport, Unit, UnitId,
};
pub use wingbeat_core::{cache, envelope, outgoing, statement, store, transport};
#[doc(hidden)]
pub use wingbeat_core::{failpoint, sabotage};
pub use wingbeat_macros::{Call, Command, Event, Failure, Parts, SagaInput, test};

pub(crate) use codec::encode;
