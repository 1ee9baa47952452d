//! What may happen to stock and to reservations. Pure.

mod reservation;
mod stock;

pub use reservation::{Change, Reservation, Step, merged};
pub use stock::{BelowReserved, Stock};
