//! End-to-end tests of the `shop` binary: started as a process, driven over HTTP and in a browser,
//! killed, and run on real servers that fail. The tests are in `tests/it`; this library contains
//! the parts that they share, and [`chaos`], [`failover`] and [`outages`], which are programs, too.
//!
//! - Shops under test: [`process`] starts the whole shop as one process, [`fleet`] starts it as
//!   several, each of them a [`member`], and [`sandbox`] runs the binary as a container would.
//!   [`site`] is a running shop with its operator's interfaces.
//! - Around them: [`servers`] are RabbitMQ, PostgreSQL and Redis behind a [`proxy`] each;
//!   [`balancer`] stands in front of several gateways; [`interop`] runs programs in other
//!   languages.
//! - [`evolving`] upgrades another program, a small bank, to releases that change what is stored
//!   and published.
//! - Traffic and checks: [`shopping`] places orders for each [`customer`], and [`verdict`] checks
//!   the promises afterwards, with the provider's [`ledger`]. [`scrape`] reads metrics,
//!   [`prometheus`] evaluates queries. [`mod@http_suite`] tests the HTTP API of any shop.
//! - [`meters`] is a service beside the shop, for what the shop does not need: order.
//! - [`wait`] is how all of them wait: for conditions.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::missing_panics_doc,
    reason = "a test ends where something is missing, and runs on the real clock"
)]

mod background;
pub mod balancer;
pub mod chaos;
pub mod customer;
pub mod evolving;
pub mod failover;
pub mod fleet;
mod group;
pub mod http_suite;
pub mod interop;
pub mod ledger;
mod load;
pub mod member;
pub mod meters;
pub mod outages;
pub mod process;
pub mod prometheus;
pub mod proxy;
pub mod rolling;
pub mod sandbox;
pub mod scrape;
pub mod servers;
pub mod shopping;
pub mod site;
pub mod users;
pub mod verdict;
pub mod wait;
