//! The whole runtime on the model, under the seeded executor.

mod conformance;
mod controls;
mod crashes;
mod isolation;
mod suites;
mod transfers;
