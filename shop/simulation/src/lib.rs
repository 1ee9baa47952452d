//! The simulation of the shop: runs the whole system from one seed, under every fault. `shop
//! simulate` is its command.
//!
//! The services are those of production, each in a process of its own, some of them with two
//! replicas. Clients call their routes as the gateway does. Store, broker, cache and the payment
//! company are models.
//!
//! - `system`: the processes and the invariants. `shopper`: the clients. `goods`: the products.
//!   `history`: the answers to clients, compared with the orders. `bank`: the payment company.
//!   `copies`, `kept`, `refusals`, `statuses`: further invariants of an idle shop. `inspector`: a
//!   visitor who then tries the rules of the API. `coverage`: the accepted gaps. `cli`: the
//!   command.

mod bank;
mod cli;
mod copies;
mod coverage;
mod goods;
mod history;
mod inspector;
mod kept;
mod refusals;
mod shopper;
mod statuses;
mod system;

pub use bank::Bank;
pub use cli::{SimulateArgs, run};
pub use system::Shop;
