//! Tests of services without servers and without waiting in real time.
//!
//! - [`given`](mod@given): aggregates and sagas as pure functions.
//! - [`seeds`]: runs the tests marked `#[crate::test]` with several seeds.
//! - [`executor`]: one thread and virtual time; the seed decides which task runs next.
//! - [`model`]: store, transport and cache in memory, *split* as PostgreSQL and RabbitMQ are
//!   (outbox, relay, confirms, redelivery), with exactly the guarantees of the ports, and faults on
//!   request.
//! - [`documents`]: checks of OpenAPI and AsyncAPI documents.
//! - [`simulator`]: lifetimes of a system under every fault, with many seeds, checked against
//!   invariants.
//! - [`test_app`](mod@test_app): an app on the model, driven by a test.
//! - [`stub`](mod@stub): stands in for a service that the test does not run.

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
