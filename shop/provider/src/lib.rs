//! A stand-in for the external payment company, with a real socket, a durable ledger and switchable
//! faults.
//!
//! The provider depends on no other crate of the shop, and the shop uses it only over HTTP.
#![allow(
    clippy::disallowed_methods,
    reason = "an external system has its own clock, threads and randomness"
)]

mod faults;
mod ledger;
mod routes;
mod server;

pub use faults::Faults;
pub use ledger::{Entry, Stats};
pub use server::{Config, Error, Provider, start, start_within};
