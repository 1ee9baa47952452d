//! Tests of services without servers and without waiting.
//!
//! - [`given`](mod@given): aggregates and sagas as pure functions.
//! - [`seeds`]: what `#[crate::test]` runs: a test in the worlds of some seeds.
//! - [`executor`]: one thread, virtual time, one seed that decides what runs next.
//! - [`model`]: store, transport and cache in memory, *split* as PostgreSQL and RabbitMQ are:
//!   outbox, relay, confirms, redelivery; with exactly the promises of the ports, and faults on
//!   request.
//! - [`documents`]: checks of OpenAPI and AsyncAPI documents.
//! - [`simulator`]: whole lifetimes of a system under every fault, many seeds, and what must hold.
//! - [`test_app`](mod@test_app): an app on the model, driven by a test. [`stub`](mod@stub): answers
//!   for a service that is not there.

mod call_stubs;
pub mod documents;
pub mod executor;
pub mod given;
pub mod model;
pub mod seeds;
pub mod simulator;
pub mod stub;
pub mod test_app;

pub use executor::Simulation;
pub use given::{given, given_saga};
pub use model::{Faults, Model, Outages};
pub use simulator::{Client, Process, Simulator, System, Violation, World};
pub use stub::stub;
pub use test_app::TestApp;
