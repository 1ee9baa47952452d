//! The test kit: services run without servers, in virtual time.
//!
//! | Module | Content |
//! |---|---|
//! | [`given`](mod@given) | tests of aggregates and sagas as pure functions |
//! | [`any_order`] | a saga that receives its inputs in any order |
//! | [`test_app`](mod@test_app) | an app in memory, driven by a test |
//! | [`stub`](mod@stub) | a stub of a service that the test does not run |
//! | [`simulator`] | simulation of a whole system under faults, for many seeds |
//! | [`model`] | the store, the broker and the cache in memory, with faults on request |
//! | [`executor`] | one thread and virtual time; the seed decides which task runs next |
//! | [`replay`] | recorded stories, run again on the code at hand |
//! | [`seeds`] | tests marked `#[wingbeat::test]`, for several seeds |
//! | [`documents`] | checks of OpenAPI and AsyncAPI documents |

pub mod any_order;
mod call_stubs;
pub mod documents;
pub mod executor;
pub mod given;
pub mod model;
pub mod replay;
pub mod seeds;
pub mod simulator;
pub mod stub;
pub mod test_app;

pub use any_order::{KeptSaga, ends_in_any_order};
pub use executor::Simulation;
pub use given::{given, given_saga};
pub use model::{Faults, Model, Outages};
pub use replay::assert_replays;
pub use simulator::{Client, Process, Simulator, System, Violation, World};
pub use stub::stub;
pub use test_app::TestApp;
