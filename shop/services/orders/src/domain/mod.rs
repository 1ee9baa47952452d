//! The order and the changes it allows. Pure.

mod order;

pub use order::{AlreadyPlaced, Change, Order, OrderCommand, OrderEvent, Placed};
