//! A framework for event-driven services: handlers decide, the runtime commits.
//!
//! A **handler** is an async function. Its first argument is the message it subscribes to. Further
//! arguments read and change the service's data. It returns the messages to publish. Nothing takes
//! effect while it runs. The runtime commits state, messages, timers and the inbox entry in one
//! transaction, and acknowledges the message afterwards. No message is lost, and effects happen
//! once, even after a crash.
//!
//! Services run unchanged
//!
//! - in one process with nothing installed: SQLite is embedded as store and broker;
//! - each in its own process, on RabbitMQ, PostgreSQL and Redis;
//! - in a deterministic simulation.
//!
//! # Tutorial: two services in ten minutes
//!
//! ```toml
//! [dependencies]
//! wingbeat = "0.1"
//! serde = { version = "1", features = ["derive"] }
//!
//! [dev-dependencies]
//! wingbeat = { version = "0.1", features = ["test"] }
//! ```
//!
//! ## An event
//!
//! A message is a type. Its name and version are the contract with other services: do not change
//! them once the message is in use. The key groups messages that belong together, here all of one
//! book. The JSON Schema becomes part of `/asyncapi.json`. The [`prelude`] has the names that most
//! service files use.
//!
//! ```
//! use serde::{Deserialize, Serialize};
//! use wingbeat::prelude::*;
//!
//! /// A book was lent to a reader.
//! #[derive(Event, Serialize, Deserialize, JsonSchema)]
//! #[event(name = "library.book_lent", version = 1, key = book)]
//! struct BookLent {
//!     book: String,
//!     reader: String,
//! }
//! # assert_eq!(BookLent::NAME, "library.book_lent.v1");
//! ```
//!
//! ## A service that publishes it
//!
//! An HTTP write is a handler, too. Its first argument is a part of the request: [`http::Json`],
//! [`http::Path`] or [`http::Query`]. To enforce uniqueness, claim a value instead of querying for
//! it: of two requests for one book, only one commits. `claims.release` releases the value. The
//! client gets the response after the commit.
//!
//! ```
//! # use serde::{Deserialize, Serialize};
//! # use wingbeat::prelude::*;
//! # #[derive(Event, Serialize, Deserialize, JsonSchema)]
//! # #[event(name = "library.book_lent", version = 1, key = book)]
//! # struct BookLent { book: String, reader: String }
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
//! fn library() -> Service {
//!     Service::new("library").routes(Routes::new().route("/loans", post(lend)))
//! }
//! # drop(library());
//! ```
//!
//! Clients repeat requests that get no answer. `post(lend).idempotent()` requires the header
//! `Idempotency-Key`, and answers a repeated request with the first response. A handler that makes
//! an id of its own takes it from `scope.new_id()`.
//!
//! ## A service that reacts
//!
//! The two services share only the event. Each has its own data and its own queue. A `get` route
//! reads the data with [`Reads`].
//!
//! ```
//! # use serde::{Deserialize, Serialize};
//! # use wingbeat::prelude::*;
//! # #[derive(Event, Serialize, Deserialize, JsonSchema)]
//! # #[event(name = "library.book_lent", version = 1, key = book)]
//! # struct BookLent { book: String, reader: String }
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
//!     let known = loans.get(&event.reader).await?.unwrap_or_default();
//!     loans.put(&event.reader, Loans { books: known.books + 1 })
//! }
//!
//! async fn show(Path(reader): Path<String>, reads: Reads) -> Result<Reply, Problem> {
//!     let loans = reads.entity::<Loans>(&reader).await?;
//!     Ok(ok(&loans.unwrap_or_default()))
//! }
//!
//! fn statistics() -> Service {
//!     let routes = Routes::new().route("/readers/{reader}", get(show));
//!     Service::new("statistics").routes(routes).on(count)
//! }
//! # drop(statistics());
//! ```
//!
//! Two loans of one reader can run at the same time. If both read the same count, one of them does
//! not commit: the runtime runs it again on fresh data. `.on(count.ordered())` handles the loans of
//! one book in their order, at the price of a slower subscription. [`Handler`] has further options.
//!
//! ## A workflow with a timer
//!
//! A [`Saga`] waits for messages and decides what happens next. Its inputs are the variants of an
//! enum. Inputs with the same key belong to one saga, here one for each book. A step is a pure
//! function: it changes the saga and records messages and timers. A timer is a message that the
//! saga sends to itself; here it is also the event that the saga publishes.
//!
//! ```
//! # use serde::{Deserialize, Serialize};
//! use std::time::Duration;
//! # use wingbeat::prelude::*;
//! # #[derive(Event, Serialize, Deserialize, JsonSchema)]
//! # #[event(name = "library.book_lent", version = 1, key = book)]
//! # struct BookLent { book: String, reader: String }
//! # #[derive(Event, Serialize, Deserialize, JsonSchema)]
//! # #[event(name = "library.book_returned", version = 1, key = book)]
//! # struct BookReturned { book: String }
//! # #[derive(Event, Serialize, Deserialize, JsonSchema)]
//! # #[event(name = "library.book_overdue", version = 1, key = book)]
//! # struct BookOverdue { book: String, reader: String }
//!
//! #[derive(SagaInput)]
//! enum Input {
//!     #[saga(start)]
//!     Lent(BookLent),
//!     Returned(BookReturned),
//!     #[saga(timer)]
//!     Overdue(BookOverdue),
//! }
//!
//! #[derive(Default, Serialize, Deserialize)]
//! struct Reminder;
//!
//! impl Saga for Reminder {
//!     const NAME: &'static str = "reminder";
//!     type Input = Input;
//!
//!     fn step(&mut self, input: Input, effects: &mut SagaEffects<Input>) {
//!         const THREE_WEEKS: Duration = Duration::from_secs(21 * 24 * 3600);
//!         match input {
//!             Input::Lent(BookLent { book, reader }) => {
//!                 effects.after(THREE_WEEKS, &BookOverdue { book, reader })
//!             }
//!             Input::Returned(_) => effects.cancel::<BookOverdue>(),
//!             Input::Overdue(overdue) => effects.publish(&overdue),
//!         };
//!     }
//!
//!     fn unexpected(&mut self, reason: Unexpected, _: Input, effects: &mut SagaEffects<Input>) {
//!         if reason == Unexpected::NotStarted {
//!             effects.defer(); // the return overtook the loan
//!         }
//!     }
//! }
//!
//! let library = Service::new("library").saga::<Reminder>();
//! # drop(library);
//! ```
//!
//! A saga with an end calls `effects.end()`. Inputs that come after it go to `unexpected`, those
//! that start a saga too. Give each run of such a workflow a key of its own, for example a loan's
//! id.
//!
//! ## The program
//!
//! ```no_run
//! use std::process::ExitCode;
//! use wingbeat::prelude::*;
//! # fn library() -> Service { Service::new("library") }
//! # fn statistics() -> Service { Service::new("statistics") }
//! fn system() -> App {
//!     App::new().service(library()).service(statistics())
//! }
//!
//! fn main() -> ExitCode {
//!     wingbeat::run(|_: &Settings| system())
//! }
//! ```
//!
//! `cargo run` starts it and prints its addresses. Then:
//!
//! ```text
//! curl localhost:8080/loans -H 'Content-Type: application/json' \
//!     -d '{"book":"Emma","reader":"Ada"}'
//! curl localhost:8080/readers/Ada
//! curl localhost:9464/ops/subscriptions
//! curl localhost:9464/metrics
//! ```
//!
//! Kill it with `kill -9` at any time and start it again: each loan is counted once.
//!
//! ## A test
//!
//! With the feature `test`, [`test::TestApp`] runs the app in memory, in virtual time, under a seed
//! that decides which task runs next. The test sends requests, lets time pass, and reads.
//!
//! ```
//! # use serde::{Deserialize, Serialize};
//! # use wingbeat::prelude::*;
//! # #[derive(Event, Serialize, Deserialize, JsonSchema)]
//! # #[event(name = "library.book_lent", version = 1, key = book)]
//! # struct BookLent { book: String, reader: String }
//! # async fn lend(loan: Json<BookLent>, claims: Claims, scope: Scope) -> Result<Reply, Problem> {
//! #     if !claims.claim("lent", &loan.0.book, &loan.0.reader).await? {
//! #         return Err(Problem::new(409, "already_lent", "another reader has this book"));
//! #     }
//! #     scope.publish(&loan.0)?;
//! #     Ok(accepted(&loan.0))
//! # }
//! # fn system() -> App {
//! #     let routes = Routes::new().route("/loans", post(lend));
//! #     App::new().service(Service::new("library").routes(routes))
//! # }
//! # #[cfg(feature = "test")] {
//! use wingbeat::serde_json::json;
//! use wingbeat::test::TestApp;
//!
//! let app = TestApp::start(1, system());
//! let lend = |reader: &str| {
//!     let loan = json!({ "book": "Emma", "reader": reader });
//!     app.ask("POST", "/loans", "", &loan).0
//! };
//! assert_eq!(lend("Ada"), 202);
//! assert_eq!(lend("Eve"), 409);
//! app.until_idle(); // all messages are handled, all timers have fired
//! assert_eq!(app.dead_letters("library"), 0);
//! # }
//! ```
//!
//! `app.post(path, "", key, body)` sends an idempotency key, too. The third argument of `ask` is
//! the token of a session.
//!
//! ## A simulation
//!
//! A [`test::Simulator`] runs a whole system under many seeds, with crashes, duplicates,
//! reordering, outages and lost replies. Describe the processes, the clients and an invariant. The
//! simulator reports each seed that violates the invariant, with the faults that it needs and the
//! messages that led to it. A run also fails if a fault never took effect, a handler never ran, or
//! a saga never received an input in a state, because it proves nothing about them.
//!
//! ```
//! # use serde::{Deserialize, Serialize};
//! # use wingbeat::prelude::*;
//! # #[derive(Event, Serialize, Deserialize, JsonSchema)]
//! # #[event(name = "library.book_lent", version = 1, key = book)]
//! # struct BookLent { book: String, reader: String }
//! # #[derive(Clone, Default, Serialize, Deserialize)]
//! # struct Loans { books: u32 }
//! # impl Entity for Loans {
//! #     const NAME: &'static str = "loans";
//! #     type Id = String;
//! # }
//! # async fn lend(loan: Json<BookLent>, claims: Claims, scope: Scope) -> Result<Reply, Problem> {
//! #     if !claims.claim("lent", &loan.0.book, &loan.0.reader).await? {
//! #         return Err(Problem::new(409, "already_lent", "another reader has this book"));
//! #     }
//! #     scope.publish(&loan.0)?;
//! #     Ok(accepted(&loan.0))
//! # }
//! # async fn count(event: BookLent, loans: Table<Loans>) -> Result<()> {
//! #     let add = |known: Option<Loans>| Loans { books: known.unwrap_or_default().books + 1 };
//! #     loans.update(&event.reader, add).await.map(drop)
//! # }
//! # fn system() -> App {
//! #     let routes = Routes::new().route("/loans", post(lend).idempotent());
//! #     let library = Service::new("library").routes(routes);
//! #     App::new().service(library).service(Service::new("statistics").on(count))
//! # }
//! # #[cfg(feature = "test")] {
//! use std::time::Duration;
//!
//! use wingbeat::BoxFuture;
//! use wingbeat::serde_json::json;
//! use wingbeat::test::simulator::Ask;
//! use wingbeat::test::{Client, Process, Simulator, System, Violation, World};
//!
//! struct Library;
//!
//! impl System for Library {
//!     fn new(_: &World) -> Self {
//!         Self
//!     }
//!
//!     fn processes(&self) -> Vec<Process> {
//!         vec![Process::new("library", |_| system())]
//!     }
//!
//!     fn clients(&self, world: &World) -> Vec<BoxFuture<'static, ()>> {
//!         let reader = |number| Box::pin(reader(Client::new(world, number))) as _;
//!         (0..3).map(reader).collect()
//!     }
//!
//!     async fn when_idle(&self, world: &World) -> Vec<Violation> {
//!         let readers = world.entities::<Loans>("statistics");
//!         let counted: u32 = readers.iter().map(|(_, loans)| loans.books).sum();
//!         let wrong = Violation::new("a loan is counted once", "loans", counted.to_string());
//!         Vec::from_iter((counted != 3).then_some(wrong))
//!     }
//! }
//!
//! /// Borrows three books, and repeats each request until there is a response.
//! async fn reader(mut client: Client) {
//!     for book in ["Emma", "Ulysses", "Walden"] {
//!         client.pause(Duration::from_secs(15)).await;
//!         let reader = client.number.to_string();
//!         let key = format!("{book}-{reader}");
//!         let loan = json!({ "book": book, "reader": reader });
//!         let ask = Ask::post("library", "/loans", loan).idempotency_key(key);
//!         client.ask_with_retries(ask, 100).await;
//!     }
//! }
//!
//! Simulator::new().run::<Library>(0..200).assert_held();
//! # }
//! ```
//!
//! Faults begin within [`System::span`](test::System::span), 30 seconds by default.
//! `client.pause(..).await` spreads requests over this time, and `ask_with_retries` returns the
//! response.
//!
//! ## Next steps
//!
//! - Outside systems, with retries and circuit breakers: [`Call`].
//! - Event-sourced state: [`Aggregate`]. Lists and searches: [`View`].
//! - Each service in its own process: build with the feature `servers`, then `<program> run library
//!   --broker amqp://… --store postgres://… --cache redis://…`.
//! - Settings of your own: [`Settings`]. Operations: [`run::ops`].
//!
//! # Where things are
//!
//! The types that a service uses first stand at the root of the crate, and in the [`prelude`]:
//!
//! | Task | Types |
//! |---|---|
//! | wire services | [`App`], [`Service`], [`Handler`], [`Settings`] |
//! | handle a message | [`Event`](macro@Event), [`Command`](macro@Command), [`Effects`], [`Batch`], [`Meta`], [`Now`], [`State`] |
//! | keep data | [`Entity`] and [`Table`], [`Aggregate`] and [`Repo`], [`Claims`], [`View`] and [`Rows`], [`Projection`], [`Cached`], [`Reads`] |
//! | coordinate services | [`Saga`], [`Request`] and [`Requests`] |
//! | use outside systems | [`Call`], [`TargetPolicy`] |
//! | test | [`TestApp`](test::TestApp), [`Simulator`](test::Simulator), [`given_saga`](test::given_saga) |
//!
//! Each module has the rest of one subject:
//!
//! | Module | Content |
//! |---|---|
//! | [`app`] | the check of an app, and what a running one reports |
//! | [`handler`], [`policy`] | what handlers take and return; limits and timings |
//! | [`state`], [`saga`], [`call`], [`request`], [`http`] | a service's data, workflows, outside calls, requests to other services, HTTP |
//! | [`bodies`] | messages larger than 1 MiB |
//! | [`overload`] | requests that are refused before resources run out |
//! | [`describe`], [`contracts`] | AsyncAPI and OpenAPI documents; compatibility between releases |
//! | [`run`](mod@run), [`telemetry`], [`runtime`] | programs, observation, time and tasks |
//! | [`test`](mod@test) | tests and simulations |
//! | [`trust`], [`tls`] | signatures of services, TLS files |
//! | [`ports`], [`store`], [`transport`], [`cache`], [`outgoing`] | the adapters' side, for tests and hosts of your own |
//!
//! # Features
//!
//! | Feature | Content |
//! |---|---|
//! | `embedded` (default) | SQLite as store and broker, in one file |
//! | `host` (default) | [`run()`](run()): settings, logs, the operator's port, signals; includes `http` |
//! | `http` | commands, routes, sessions |
//! | `https` | TLS for outgoing HTTP |
//! | `servers` | RabbitMQ, PostgreSQL and Redis; includes `https` |
//! | `signing` | signatures on commands and between processes: [`trust`] |
//! | `console` | the operations console: [`run::console`]; includes `host` |
//! | `cron` | schedules with cron expressions and time zones: `Service::cron` |
//! | `personal` | personal data that can be erased: [`Personal`], [`Subjects`] |
//! | `otlp` | spans, metrics and log records to an OpenTelemetry collector |
//! | `test` | the test kit |
//!
//! # Types of other crates
//!
//! Some public items have types of other crates in their signatures. These crates are part of the
//! contract: a new major version of one of them is a breaking change. Wingbeat reexports the linked
//! ones.
//!
//! | Crate | Used by |
//! |---|---|
//! | `serde` | the derives of messages, entities and settings |
//! | [`schemars`] | JSON Schemas of messages, requests and settings |
//! | [`serde_json`] | documents; bodies in tests |
//! | [`bytes`] | bodies of messages and of outside calls |
//! | `uuid` | ids of messages and users: [`Uuid`] |
//! | `futures-util` | [`BoxFuture`] in ports |
//! | `metrics` | metrics of your own: [`telemetry::metrics`] |
//! | `http`, `hyper` | requests that a program forwards: [`connections`] |
//! | `axum`, with `http` and `tower` | routes, requests and responses (feature `http`) |
//! | `clap_builder` | commands of your own: [`run::clap_builder`] (feature `host`) |
//! | `tokio`, `tracing`, `tracing-subscriber` | [`http::serve`] and [`telemetry`], for programs without [`run()`](run()) |
//!
//! Enums and structs that the framework makes and users read are `#[non_exhaustive]`. Policies,
//! such as [`Retry`], are written with `..Retry::default()`. The types of the ports are exhaustive:
//! an adapter must support all that a message, a query or a unit of work contains.

#![deny(missing_docs)]

#[cfg(all(feature = "host", not(any(feature = "embedded", feature = "servers"))))]
compile_error!("the feature `host` needs `embedded` or `servers`");

pub mod app;
mod base_url;
mod batch;
pub mod bodies;
pub mod call;
mod codec;
mod commit;
pub mod connections;
pub mod contracts;
pub mod describe;
mod dispatch;
mod due;
mod effects;
mod extract;
mod failed;
pub mod handler;
#[cfg(feature = "http")]
pub mod http;
mod limit;
pub mod overload;
mod partition;
pub mod policy;
pub mod ports;
pub mod prelude;
mod project;
mod promise;
mod publish;
mod rebuild;
pub mod recording;
mod replay;
pub mod request;
mod retry;
#[cfg(feature = "host")]
pub mod run;
pub mod runtime;
pub mod saga;
mod schedule;
mod service;
pub mod state;
mod stored;
pub mod story;
pub mod telemetry;
#[cfg(feature = "test")]
pub mod test;
pub mod tls;
pub mod trust;
mod unit;
pub mod verify;

#[doc(inline)]
pub use app::{App, Ports, Running};
pub use base_url::BaseUrl;
pub use batch::Batch;
#[doc(inline)]
pub use call::{Call, GaveUp, OperationKey};
pub use codec::{decode, encode_body};
pub use effects::{Effects, Either};
pub use extract::{Extract, Now, Part, State};
#[doc(inline)]
pub use handler::Handler;
#[doc(inline)]
pub use policy::{Rate, TargetPolicy};
pub use promise::{Promise, PromiseEnd};
#[doc(inline)]
pub use recording::Recording;
#[doc(inline)]
pub use request::{Request, RequestError, Requests};
pub use retry::{Attempts, Retry};
#[cfg(feature = "host")]
#[doc(inline)]
pub use run::{Program, Settings, run, run_program};
#[doc(inline)]
pub use runtime::{Runtime, RuntimeExt, SharedRuntime, TokioRuntime};
#[doc(inline)]
pub use saga::{Saga, SagaEffects, SagaInput, Unexpected};
pub use schedule::{Missed, Schedule};
pub use service::Service;
#[doc(inline)]
pub use state::{
    Aggregate, Cached, Changes, Claims, Entity, Happened, PastEvent, Projection, Reads, Repo, Rows,
    Table, View, ViewColumns, ViewRow,
};
#[cfg(feature = "personal")]
#[doc(inline)]
pub use state::{Personal, Subjects};
pub use stored::Stored;
pub use unit::{Entry, Meta, Scope, ServiceContext, Sql, run_unit};

pub use schemars::{self, JsonSchema};
pub use uuid::Uuid;
#[doc(inline)]
pub use wingbeat_core::store::{Position, Select};
#[doc(inline)]
pub use wingbeat_core::{
    BoxFuture, Class, CorrelationId, Error, Failure, HashMap, HashSet, Message, Name, Result,
    Timestamp, causes,
};
pub use wingbeat_core::{cache, network, outgoing, store, transport};
#[doc(hidden)]
pub use wingbeat_core::{failpoint, sabotage};
pub use wingbeat_macros::{Call, Command, Event, Failure, Parts, Request, SagaInput, test};
pub use {bytes, serde_json};

pub(crate) use codec::{decodes, encode};
