//! The stand-in for the outside payment company: a real socket, its own durable ledger, and faults that
//! can be switched on. It knows nothing of the shop, and the shop reaches it over HTTP only.
#![allow(
    clippy::disallowed_methods,
    reason = "an external system: it has its own clock, threads and chance"
)]

mod faults;
mod ledger;
mod routes;
mod server;

pub use faults::Faults;
pub use ledger::{Entry, Stats};
pub use server::{Config, Error, Provider, start, start_within};
