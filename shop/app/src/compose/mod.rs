//! The shop as a [`Program`](wingbeat::Program): its processes, their routes and their
//! preparation.

mod prepare;
mod program;
mod routes;
mod shop;

pub use program::start;
pub use shop::{Open, Shared, Shop};
