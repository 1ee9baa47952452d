//! `shop simulate`: runs the whole shop from one seed, under every fault.
//!
//! The services are those of production, each in a process of its own, some of them with two
//! replicas. Clients call their routes as the gateway does. Store, broker, cache and the payment
//! company are models.
//!
//! - `system`: what runs and what must hold. `shopper`: who comes. `history`: what they were told,
//!   against what is. `bank`: the payment company. `cli`: the command.

mod bank;
mod cli;
mod coverage;
mod history;
mod shopper;
mod system;

pub use bank::Bank;
pub use cli::{SimulateArgs, run};
pub use system::Shop;
