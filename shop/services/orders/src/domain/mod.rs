//! The order: what it is, and how it may change. Pure.

mod order;

pub use order::{Change, Order, OrderCommand, OrderEvent, Placed};
