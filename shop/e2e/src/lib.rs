//! Tests of the `shop` binary as its users meet it: started as a process, driven over HTTP and in a browser, killed,
//! and run on real servers that fail. The tests are in `tests/it`; here is what they share, and [`chaos`], which is
//! also a program.
//!
//! - [`process`]: one shop in one process. [`fleet`]: each service by itself, on real servers. [`cell`]: one of them
//!   in the conditions of a container. [`balancer`]: what stands before several gateways.
//! - [`shopping`]: shoppers at work, and the verdict. [`customer`]: one of them, who signs in again if need be.
//!   [`ledger`]: what their orders have cost them.
//!   `stock`: what a new shop has to sell.
//! - [`scrape`]: what a process tells at `/metrics`. [`strangers`]: programs in other languages beside the shop.
//! - [`wire`]: a TCP proxy that cuts, delays and swallows. [`chaos`]: a schedule of trouble from a seed.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::missing_panics_doc,
    reason = "a test ends where something is missing, and lives by the real clock"
)]

pub mod balancer;
pub mod cell;
pub mod chaos;
pub mod customer;
pub mod fleet;
pub mod ledger;
pub mod process;
pub mod scrape;
pub mod shopping;
mod stock;
pub mod strangers;
pub mod wire;
