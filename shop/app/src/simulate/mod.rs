//! `shop simulate`: the whole shop, from one seed, under every fault.
//!
//! The services are the ones of production, each a process of its own, some of them twice; their
//! routes are called as the gateway calls them. Store, broker, cache and the payment company are
//! models.
//!
//! - `system`: the processes and the invariants. `shopper`: the clients. `goods`: the products.
//!   `history`: the answers to clients, compared with the orders. `bank`: the payment company.
//!   `coverage`: the accepted gaps. `cli`: the command.

mod bank;
mod cli;
mod coverage;
mod goods;
mod history;
mod shopper;
mod system;

pub use bank::Bank;
pub use cli::{SimulateArgs, run};
pub use system::Shop;
